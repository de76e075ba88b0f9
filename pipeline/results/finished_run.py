"""Integrity of a finished run: files as its manifest lists them, figures as its bits give them, gates as judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import EdgeproofError, UsageError
from ...core.model_file import digest_of
from ...stages.adversarial_pack_manifest import MANIFEST as PACK_MANIFEST
from ..gates import Condition
from ..gates.bound_to import is_binding
from ..store.manifest import MANIFEST, inside, listed, superseded, unlike
from ..store.place import record_in
from ..store.sample_bits import pack_manifest, read_columns
from .figures_from_bits import Columns, disagreements
from .report import Report, regate

REPORT, BITS = "report.json", "verification"
# Small, and the attacks' own word of what they were.
_PACKS = f"adversarial/{PACK_MANIFEST}"
_AGAIN = "build or verify again"


def finished_report(run: Path | str, *, complete: bool = False) -> Report:
    """Read the report of a finished run, and refuse one that is not what the run found.

    Nobody can tell a run that was forged throughout; for that a bundle is signed.

    Args:
        run: the run's folder, or its `report.json`.
        complete: as of `unaltered_report`.

    Raises:
        UsageError: as of `unaltered_report`, or the report tells what the bits beside it do not.
    """
    report = unaltered_report(run, complete=complete)
    for problem in contradictions(report.data, _folder(run)):
        raise UsageError(f"{problem}; {_AGAIN}")
    return report


def unaltered_report(run: Path | str, *, complete: bool = False) -> Report:
    """Read the report of a run whose files are those that its manifest lists, where it has one.

    Args:
        run: the run's folder, or its `report.json`.
        complete: whether every file must be there; some may have been left behind where only the verdict is carried on.

    Raises:
        UsageError: a file is altered, the report is missing or none, or a later build or verification into this folder
            did not finish.
    """
    folder = _folder(run)
    path = folder / REPORT if Path(run).is_dir() else Path(run)
    report = Report.load(path)
    listing = folder / MANIFEST
    manifest = record_in(listing)
    entries = listed(manifest)
    if entries is None and listing.is_file():
        raise UsageError(f"{listing}: no manifest of a run, or altered since; {_AGAIN}")
    if superseded(manifest):
        raise UsageError(f"{path}: is of an earlier request; the one that was begun here since did not finish")
    for entry in entries or ():
        how = unlike(folder, entry)
        if how and (complete or how != "missing" or entry["path"] == _PACKS):
            raise UsageError(f"{folder / entry['path']}: {how}; {_AGAIN}")
    return report


def _folder(run: Path | str) -> Path:
    return Path(run) if Path(run).is_dir() else Path(run).parent


def contradictions(data: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """What a report states and the files beside it do not bear out.

    Args:
        data: its content.
        folder: of the run, or of a bundle.
    """
    report = folder / REPORT
    names = [subject["name"] for subject in data["subjects"]]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{report}: has more than one subject {name!r}"
    bits = dict(_bits(data, folder))
    student = bits.get("student")
    for subject in data["subjects"]:
        name = subject["name"]
        columns = bits.get(name)
        if columns is None:
            continue
        asked_alike = student is not None and np.array_equal(student["index"], columns["index"])
        # Nobody is held against the student where there is none, and it is not held against itself.
        beside = student if asked_alike and "retention" in subject else None
        for each in disagreements(subject, columns, beside):
            yield f"{folder / BITS / name}.npz: {each}"
        yield from _of_engine(subject, folder)
    yield from _of_packs(data, folder)
    yield from _of_verdict(Report(data), report)


def _bits(data: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, Columns]]:
    for subject in data["subjects"]:
        path = folder / BITS / f"{subject['name']}.npz"
        # The teacher's say nothing that a gate is on.
        if subject["kind"] == "engine" or path.is_file():
            yield subject["name"], read_columns(path)


def _of_engine(subject: Mapping[str, Any], folder: Path) -> Iterator[str]:
    path = subject.get("path")
    file = inside(folder, path) if isinstance(path, str) else None
    if subject["kind"] != "engine" or file is None or not file.is_file():
        return  # one that lies elsewhere is known by its digest alone
    try:
        digest = digest_of(file)
    except EdgeproofError as error:
        yield str(error)
        return
    if digest != subject.get("sha256"):
        yield f"{file}: not the engine that the report is about (another SHA-256)"


def _of_packs(data: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """The packs' manifest was written by the attacks, apart from the report."""
    found = pack_manifest(folder)
    where = folder / _PACKS
    if "threat" in found and found["threat"] != data.get("threat_model"):
        yield f"{where}: its threat model is {found['threat']}, the report's {data.get('threat_model')}"
    dataset = data.get("dataset")
    if dataset and found.get("dataset") not in (None, dataset):
        yield f"{where}: its data set is not the report's"
    digests = {subject["name"]: subject.get("sha256") for subject in data["subjects"]}
    for entry in found.get("packs", ()):
        told = entry.get("subject_sha256")
        if told is not None and digests.get(entry.get("subject"), told) != told:
            yield f"{where}: is about another {entry['subject']} than the report (another SHA-256)"


def _of_verdict(report: Report, path: Path) -> Iterator[str]:
    """The gates again, on the figures as they are; what is held against a baseline is open in a run itself."""
    try:
        gates = report.data.get("gates", [])
        conditions = [Condition.parse(gate["name"], gate["limit"]) for gate in gates if not is_binding(gate)]
        told = {gate["name"]: gate["outcome"] for gate in gates if "outcome" in gate}
    except (KeyError, TypeError, AttributeError):
        yield f"{path}: its gates are not a report's"
        return
    again = regate(report, conditions)
    for gate in again.data["gates"]:
        if told.get(gate["name"], gate["outcome"]) != gate["outcome"]:
            yield f"{path}: its gate {gate['name']} is {told[gate['name']]}, judged again {gate['outcome']}"
    for key in ("verdict", "exit_code"):
        if report.data.get(key) != again.data[key]:
            yield f"{path}: its {key} is {report.data.get(key)}, judged again {again.data[key]}"
