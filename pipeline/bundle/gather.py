"""Bundle contents gathered from a finished run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...core.errors import UsageError
from ...core.model_file import digest_of, engine_files, sha256_of
from ...core.reading.json_text import read_json
from ...core.registry import nearest
from ...stages.adversarial_pack_manifest import MANIFEST as PACK_MANIFEST
from ...targets.base import targets
from ...targets.on_device import OnDevice
from ..results.engine_file import attacked_file
from ..results.finished_run import REPORT, finished_report
from ..results.report import Report
from ..store.manifest import MANIFEST, external_files, listed
from ..store.place import record_in
from ..store.sample_bits import pack_manifest
from .contents import BITS, PACKS, BundledEngine, BundledFile, Contents

RECIPE = "recipe.yaml"
ENGINES, GRAPH = "engines", "graph"
_STUDENTS = ("pruned", "student")


@dataclass(frozen=True)
class Gathered:
    """What goes into a bundle.

    Attributes:
        contents: `bundle.json`, without the files that are made for the bundle itself.
        sources: every file's path in the bundle, and the file of the run.
        report: the run's.
    """

    contents: Contents
    sources: Mapping[str, Path]
    report: Report


def gather(run: Path, names: Sequence[str] = ()) -> Gathered:
    """Find what goes into the bundle of a finished run, every file held against the run's manifest.

    Args:
        run: the run's folder.
        names: of the engines; all that ship when empty.

    Raises:
        UsageError: the run is not finished, a file is missing or altered, or there is no such engine.
    """
    report, manifest = finished_report(run, complete=True), record_in(run / MANIFEST)
    if listed(manifest) is None or external_files(run, manifest) is None:
        raise UsageError(f"{run / MANIFEST}: no manifest of a finished run; bundles are made of a run's folder")
    sources: dict[str, Path] = {REPORT: run / REPORT}
    if (run / RECIPE).is_file():
        sources[RECIPE] = run / RECIPE
    for folder in (PACKS, BITS):
        sources |= {f"{folder}/{path.name}": path for path in sorted((run / folder).glob("*.npz"))}
    packs = pack_manifest(run, needed=True)
    sources[f"{PACKS}/{PACK_MANIFEST}"] = run / PACKS / PACK_MANIFEST
    engines: list[BundledEngine] = []
    for name in _chosen(run, report, manifest, names):
        engine, files = _engine(run, report, manifest, name)
        engines.append(engine)
        sources |= files
    contents = Contents(
        name=report.data["name"],
        edgeproof=version("edgeproof"),
        recipe_digest=report.data["recipe_digest"],
        threat_model=report.data["threat_model"],
        dataset=packs.get("dataset", {}),
        attacks=report.data["environment"]["attacks"],
        verdict=report.data["verdict"],
        engines=tuple(engines),
        files=described(sources),
        provenance=_provenance(manifest),
    )
    return Gathered(contents, sources, report)


def described(sources: Mapping[str, bytes | Path]) -> tuple[BundledFile, ...]:
    """Paths, digests and sizes of files, by path."""
    found: list[BundledFile] = []
    for path, source in sorted(sources.items()):
        if isinstance(source, bytes):
            found.append(BundledFile(path, hashlib.sha256(source).hexdigest(), len(source)))
        else:
            found.append(BundledFile(path, sha256_of(source), source.stat().st_size))
    return tuple(found)


def _chosen(run: Path, report: Report, manifest: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    attacked = [subject["name"] for subject in report.subjects if subject["kind"] == "engine"]
    built = [
        entry["path"].split("/")[1]
        for entry in manifest["artifacts"]
        if entry["path"].startswith(f"{ENGINES}/") and entry["path"].endswith("/engine.json")
    ]
    known = list(dict.fromkeys([*attacked, *built]))
    for name in names:
        if name not in known:
            raise UsageError(f"--engine: {run} has no engine {name!r}{nearest(name, known)} ({', '.join(known)})")
    if not known:
        raise UsageError(f"{run}: has no engine")
    return [name for name in known if not names or name in names]


def _engine(run: Path, report: Report, manifest: Mapping[str, Any], name: str) -> tuple[BundledEngine, dict[str, Path]]:
    """One engine, and where its files come from."""
    subject = next((each for each in report.subjects if each["name"] == name and each["kind"] == "engine"), None)
    entries = {entry["path"]: entry for entry in manifest["artifacts"]}
    about = f"{ENGINES}/{name}/engine.json"
    built = read_json(run / about) if about in entries else None
    if built is not None:
        path, graph = run / ENGINES / name / built["file"], _graph(run, manifest, entries[about].get("parents", ()))
        options = built.get("options", {})
    else:
        assert subject is not None, "a name is an attacked or a built engine's"
        path = _foreign(run, subject, manifest)
        graph = path if path.suffix == ".onnx" else None
        options = subject.get("options", {})
    digest = digest_of(path)
    if subject is not None and subject.get("sha256") not in (digest, sha256_of(path)):
        raise UsageError(f"{path}: not the engine of the report; build or verify again")
    target = name if built is None else built["target"]
    needs = on_device(target)
    if not needs.portable and graph is None:
        raise UsageError(
            f"{path}: runs only on the machine that built it, and the run did not keep its ONNX file; "
            "verify the ONNX file itself, and bundle that run"
        )
    sources: dict[str, Path] = {}
    where_graph = None
    if graph is not None:
        where_graph = _place(f"{ENGINES}/{name}/{GRAPH}", graph, sources)
    where = None
    if graph is not None and digest == digest_of(graph):
        where = where_graph
    elif needs.portable:
        where = _place(f"{ENGINES}/{name}", path, sources)
        sources |= {
            f"{ENGINES}/{name}/{beside}": path.parent / beside
            for beside in needs.beside
            if (path.parent / beside).is_file()
        }
    engine = BundledEngine(
        name=name,
        target=target,
        options=options,
        precision=None if subject is None else subject.get("precision"),
        graph=where_graph,
        graph_sha256=None if graph is None else digest_of(graph),
        engine=where,
        engine_sha256=digest,
        reference=name if subject is not None else _stand_in(report, name),
    )
    return engine, sources


def _graph(run: Path, manifest: Mapping[str, Any], parents: Iterable[str]) -> Path | None:
    """The ONNX file that an engine was built from, as the run shows it."""
    stages = set(parents)
    for entry in manifest["artifacts"]:
        if f"{entry.get('stage')}/{entry.get('key')}" in stages and entry["path"].endswith("/model.onnx"):
            return run / entry["path"]
    return None


def _foreign(run: Path, subject: Mapping[str, Any], manifest: Mapping[str, Any]) -> Path:
    """The engine that `verify` attacked, where it lies."""
    path = attacked_file(run, subject, manifest)
    if path is None:
        raise UsageError(
            f"{run}: {subject.get('path', '')} is no file with the SHA-256 {str(subject.get('sha256'))[:12]}… of the "
            "report: gone or altered since, or a function or module, which cannot be bundled"
        )
    return path


def _stand_in(report: Report, name: str) -> str:
    """Whose bits an engine is held against that was built and not attacked: the student's."""
    names = [subject["name"] for subject in report.subjects]
    for student in _STUDENTS:
        if student in names:
            return student
    raise UsageError(f"{name}: was not attacked, and the run has no student in its place")


def _place(folder: str, model: Path, sources: dict[str, Path]) -> str:
    """Add the files of a model to the sources; return where the model itself goes."""
    for file in engine_files(model):
        sources[f"{folder}/{file.relative_to(model.parent).as_posix()}"] = file
    return f"{folder}/{model.name}"


def _provenance(manifest: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    keys = ("stage", "key", "parents", "seed", "packages", "machine")
    stages = {
        f"{entry['stage']}/{entry['key']}": {key: entry.get(key) for key in keys}
        for entry in manifest["artifacts"]
        if entry.get("stage")
    }
    return tuple(stages[name] for name in sorted(stages))


def on_device(target: str) -> OnDevice:
    """What a target's engines need on a device; nothing is known of one that is not installed here."""
    try:
        return targets[target].on_device
    except UsageError:
        return OnDevice()
