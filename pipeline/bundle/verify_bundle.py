"""Bundle verification: whole, signed, and about the engines inside it (`edgeproof verify-bundle`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ...core.errors import EdgeproofError, UsageError
from ...core.model_file import digest_of
from ...core.reading.counted import counted
from ...core.reading.json_text import read_json
from ...stages.adversarial_pack_manifest import MANIFEST as PACK_MANIFEST
from ...stages.adversarial_pack_manifest import read_manifest
from ..evidence.in_toto import TEST_RESULT, result_of, subjects_of
from ..results.finished_run import REPORT, contradictions
from ..results.report import MEASURED_SINCE, Report
from .archive import opened
from .check import problems
from .contents import CONTENTS, PACKS, SIGNATURE, BundledEngine, Contents, read_contents
from .signing import signature_problem


def verify_bundle(bundle: str | Path, key: str | Path | None = None) -> dict[str, Any]:
    """Check a bundle: every digest, the signature, and that the report speaks of the engines inside.

    Args:
        bundle: a folder or an archive.
        key: the signer's public key, in PEM; without it a signature is not checked.

    Returns:
        `{bundle, sha256, engines, files, run_verdict, signature, problems, exit_code}`: `run_verdict` is what the run
        came to, which a bundle can be intact without having passed; `signature` is `none`, `unchecked`, `valid` or
        `invalid`; the exit code is 1 where there are problems.

    Raises:
        UsageError: it is no bundle or no archive, or the key is none.
        BackendMissing: a key is given and `model-signing` is not installed.
    """
    named = Path(bundle)
    with opened(named) as folder:
        contents = read_contents(folder / CONTENTS, named / CONTENTS)
        found = [*problems(folder, contents, named)]
        signature = "unchecked" if (folder / SIGNATURE).is_file() else "none"
        if key is not None:
            wrong = signature_problem(folder, Path(key))
            signature = "invalid" if wrong else "valid"
            found += [wrong] if wrong else []
        if not found:
            found = list(_mismatches(folder, contents))
    return {
        "bundle": str(bundle),
        "sha256": contents.sha256,
        "engines": [engine.name for engine in contents.engines],
        "files": len(contents.files),
        "run_verdict": contents.verdict,
        "signature": signature,
        "problems": found,
        "exit_code": int(bool(found)),
    }


def show_verified(result: dict[str, Any], console: Console) -> None:
    """Print what was found, for people."""
    words = {
        "none": "not signed",
        "unchecked": "signed; give the signer's public key with --key to check it",
        "valid": "signature valid",
        "invalid": "signature INVALID",
    }
    verdict = "FAIL" if result["problems"] else "INTACT"
    lines = [
        *result["problems"],
        f"{result['bundle']}: {counted(result['files'], 'file')}, {', '.join(result['engines'])}; "
        f"{words[result['signature']]}",
        f"bundle.json sha256:{result['sha256']}: {verdict}",
        f"the run's own verdict: {result['run_verdict'].upper()}",
    ]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _mismatches(folder: Path, contents: Contents) -> Iterator[str]:
    """What in the bundle does not belong together, though every file is as it is listed."""
    try:
        report = Report.load(folder / REPORT)
        listed = _listed_packs(folder)
    except UsageError as error:
        yield str(error).removeprefix(f"{folder}/")
        return
    data = report.data
    verdicts = _verdicts(report)
    for key in ("name", "recipe_digest", "threat_model", "verdict"):
        if getattr(contents, key) not in (verdicts if key == "verdict" else [data.get(key)]):
            yield f"{REPORT}: its {key} is not the one of {CONTENTS}"
    try:
        yield from (each.removeprefix(f"{folder}/") for each in contradictions(data, folder))
    except UsageError as error:
        yield str(error).removeprefix(f"{folder}/")
    yield from _of_test_result(folder, report)
    subjects = {subject["name"]: subject for subject in report.subjects}
    for engine in contents.engines:
        yield from _of_engine(folder, engine, subjects)
    for subject, path in contents.packs().items():
        if listed.get(Path(path).name) != contents.sha256_of(path):
            yield f"{path}: {PACKS}/{PACK_MANIFEST} lists another SHA-256 for {subject}"


def _verdicts(report: Report) -> list[str]:
    """What a bundle may call the run: one that is read as measured was a pass when it was written."""
    verdict = report.data["verdict"]
    was_pass = verdict == "measured" and report.data["schema_version"] < MEASURED_SINCE
    return [verdict, "pass"] if was_pass else [verdict]


def _of_engine(folder: Path, engine: BundledEngine, subjects: dict[str, Any]) -> Iterator[str]:
    for path, digest in ((engine.engine, engine.engine_sha256), (engine.graph, engine.graph_sha256)):
        try:
            if path is not None and digest_of(folder / path) != digest:
                yield f"{path}: not the file that {CONTENTS} calls engine {engine.name}"
        except EdgeproofError as error:
            yield f"{path}: {error}"
    subject = subjects.get(engine.reference)
    if subject is None:
        yield f"{REPORT}: says nothing of {engine.reference}"
        return
    if engine.attacked and subject.get("sha256") != engine.engine_sha256:
        yield f"{REPORT}: its verdict on {engine.name} is for another engine ({subject.get('sha256')})"


def _of_test_result(folder: Path, report: Report) -> Iterator[str]:
    """The statement that policy engines read, where there is one, says what the report does."""
    path = folder / TEST_RESULT
    if not path.is_file():
        return
    try:
        found = read_json(path)
        told = found["predicate"]["result"], found["subject"]
    except (OSError, ValueError, KeyError, TypeError):
        yield f"{TEST_RESULT}: no in-toto statement of a test result"
        return
    results = [result_of(replace(report, data={**report.data, "verdict": each})) for each in _verdicts(report)]
    if told[0] not in results or told[1] != subjects_of(report):
        yield f"{TEST_RESULT}: its result or its engines are not those of {REPORT}"


def _listed_packs(folder: Path) -> dict[str, str]:
    path = folder / PACKS / PACK_MANIFEST
    try:
        return {entry["file"]: entry["sha256"] for entry in read_manifest(path)["packs"]}
    except (OSError, ValueError, KeyError):
        raise UsageError(f"{path}: no manifest of packs") from None
