"""The store: published at once or not at all, never stale, never silently altered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from edgeproof.core.errors import StageError, UsageError
from edgeproof.core.model_file import sha256_of
from edgeproof.pipeline.store.artifact import Artifact, Stage
from edgeproof.pipeline.store.code_digest import code_digest
from edgeproof.pipeline.store.manifest import MANIFEST, amend, external_files, fingerprint, finished_files
from edgeproof.pipeline.store.store import Store


def described(config: object = 1, **more) -> Stage:
    return Stage("stage", **{"config": {"setting": config}, "inputs": {}, "code": [], "packages": ["numpy"], **more})


def make(store: Store, calls: list[str], *, content: str = "x", **more) -> Artifact:
    def work(folder: Path) -> None:
        calls.append("ran")
        (folder / "out.txt").write_text(content)

    return store.make(described(**more), work)


def test_a_finished_stage_is_not_run_again(tmp_path: Path):
    calls: list[str] = []
    first, second = make(Store(tmp_path), calls), make(Store(tmp_path), calls)
    assert calls == ["ran"]
    assert first.key == second.key
    assert second.path("out.txt").read_text() == "x"


@pytest.mark.parametrize(
    "change",
    [{"config": 2}, {"inputs": {"data": "abc"}}, {"code": ["edgeproof.core.errors"]}, {"packages": ["torch"]}],
)
def test_whatever_matters_changes_the_key(tmp_path: Path, change: dict):
    calls: list[str] = []
    assert make(Store(tmp_path), calls).key != make(Store(tmp_path), calls, **change).key
    assert len(calls) == 2


def test_going_back_finds_the_old_artifact(tmp_path: Path):
    calls: list[str] = []
    for config in (1, 2, 1):
        make(Store(tmp_path), calls, config=config)
    assert len(calls) == 2


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path):
    def work(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise StageError("broken")

    store = Store(tmp_path / "run")
    with pytest.raises(StageError, match="broken"), store.locked():
        store.make(described(), work)
    assert not (tmp_path / "run").exists()


def test_what_a_killed_run_left_half_written_is_cleared_and_nothing_of_a_shared_store(tmp_path: Path):
    run, shared = tmp_path / "run", tmp_path / "run" / ".store"
    store = Store(run)
    (run / "teacher").mkdir()
    store.place.refer([])
    (record,) = (shared / "runs").glob("*.json")
    ours = [run / ".report.json.7.0.partial", run / "teacher" / ".model.7.0.partial"]
    ours.append(record.with_name(f".{record.name}.7.0.partial"))
    others = [
        shared / "runs" / ".another.json.7.0.partial",
        shared / "partial" / ".notes.7.partial",
        run / "notes.partial",
    ]
    for path in (*ours, *others):
        path.write_text("x")
    with store.locked():
        assert not any(path.exists() for path in ours)
        assert all(path.exists() for path in others)


def test_what_a_killed_stage_left_is_cleared_or_reused(tmp_path: Path):
    calls: list[str] = []
    key = make(Store(tmp_path / "a"), calls).key
    left = tmp_path / "b" / ".store" / "partial" / f"stage-{key}"
    for resumable in (False, True):
        left.mkdir(parents=True, exist_ok=True)
        (left / "old.txt").write_text("old")
        artifact = make(Store(tmp_path / "b"), calls, resumable=resumable)
        assert ("old.txt" in artifact.files) is resumable
        for path in artifact.folder.iterdir():
            path.unlink()
        artifact.folder.rmdir()


def test_an_altered_file_is_never_handed_out(tmp_path: Path):
    calls: list[str] = []
    artifact = make(Store(tmp_path), calls)
    (artifact.folder / "out.txt").write_text("altered")
    fresh = Artifact(artifact.stage, artifact.key, artifact.folder, artifact.record)
    with pytest.raises(StageError, match="altered since it was made"):
        fresh.path("out.txt")
    notices: list[str] = []
    again = make(Store(tmp_path, notices.append), calls)
    assert again.path("out.txt").read_text() == "x"
    assert "altered" in notices[0]


def test_the_view_lists_every_file_with_its_origin(tmp_path: Path):
    store, calls = Store(tmp_path), []
    artifact = make(store, calls, seed=7)
    store.publish({"a/out.txt": (artifact, "out.txt")}, {"report.json": "{}"}, request="r", external={})
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    entry = manifest["artifacts"][0]
    assert (entry["path"], entry["sha256"], entry["seed"]) == ("a/out.txt", artifact.sha256("out.txt"), 7)
    assert set(entry) >= {"parents", "packages", "machine", "stage", "key"}
    assert finished_files(tmp_path, "r") == ("a/out.txt", "report.json")
    assert finished_files(tmp_path, "another request") is None


@pytest.mark.parametrize("spoil", ["a/out.txt", "report.json", "outside.bin"])
def test_a_run_with_a_spoilt_file_is_not_finished(tmp_path: Path, spoil: str):
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"1")
    store, calls = Store(tmp_path / "run"), []
    artifact = make(store, calls)
    digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"  # sha256 of "1"
    view = {"a/out.txt": (artifact, "out.txt")}
    store.publish(view, {"report.json": "{}"}, request="r", external={str(outside): digest})
    assert finished_files(tmp_path / "run", "r")
    (outside if spoil == "outside.bin" else tmp_path / "run" / spoil).write_text("spoilt")
    assert finished_files(tmp_path / "run", "r") is None
    outside.write_bytes(b"1")
    store.publish(view, {"report.json": "{}"}, request="r", external={str(outside): digest})
    assert finished_files(tmp_path / "run", "r"), "publishing again mends the view"


def test_a_manifest_names_files_outside_and_not_where_they_lie(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "weights.pt").write_text(folder)
    external = {str(path): sha256_of(path) for path in sorted(tmp_path.rglob("weights.pt"))}
    run = tmp_path / "run"
    Store(run).publish({}, {"report.json": "{}"}, request="r", external=external)
    assert str(tmp_path) not in (run / MANIFEST).read_text()
    manifest = json.loads((run / MANIFEST).read_text())
    assert manifest["external"] == dict(zip(("0/weights.pt", "1/weights.pt"), external.values(), strict=True))
    assert external_files(run, manifest) == external
    assert finished_files(run, "r")
    # One of an older version has the places itself; one whose store is gone is made anew.
    (run / ".store" / "external.json").unlink()
    assert finished_files(run, "r") is None
    del manifest["checksum"]
    (run / MANIFEST).write_text(json.dumps({**manifest, "external": external, "schema_version": 1}))
    assert finished_files(run, "r")
    (run / MANIFEST).write_text(json.dumps({**manifest, "external": external}))
    assert finished_files(run, "r") is None, "of this version, and its checksum is gone"


def test_files_of_an_older_run_leave_the_view(tmp_path: Path):
    store, calls = Store(tmp_path), []
    artifact = make(store, calls)
    (tmp_path / "mine.txt").write_text("not ours")
    store.publish({"old.txt": (artifact, "out.txt")}, {}, request="1", external={})
    store.publish({"new.txt": (artifact, "out.txt")}, {}, request="2", external={})
    assert not (tmp_path / "old.txt").exists()
    assert (tmp_path / "new.txt").exists()
    assert (tmp_path / "mine.txt").exists()


def test_a_manifest_removes_nothing_but_files_of_the_run(tmp_path: Path):
    """It came with a folder that may be anybody's."""
    root, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    store = Store(root)
    artifact = make(store, [])
    (outside / "mine.txt").write_text("mine")
    (root / "out").symlink_to(outside)
    (root / "link.txt").symlink_to(outside / "mine.txt")
    (root / "folder").mkdir()
    (root / "old.txt").write_text("old")
    stored = f".store/stage/{artifact.key}/stage.json"
    paths = [
        "../outside/mine.txt",
        "folder/../../outside/mine.txt",
        str(outside / "mine.txt"),
        "out/mine.txt",
        "link.txt",
        "folder",
        "folder/../report.json",
        "./report.json",
        stored,
        f"./{stored}",
        "",
        ".",
        "a\0b",
        "n" * 300,
        "old.txt",
    ]
    entries = [{"path": path, "sha256": ""} for path in paths]
    (root / MANIFEST).write_text(json.dumps({"artifacts": entries}))
    store.publish({}, {"report.json": "{}"}, request="r", external={})
    assert (outside / "mine.txt").read_text() == "mine"
    assert (root / stored).is_file()
    assert sorted(path.name for path in root.iterdir()) == sorted(
        [".store", "out", "link.txt", "folder", MANIFEST, "report.json"]
    )


_MALFORMED = [
    [],
    {"artifacts": None},
    {"artifacts": {}},
    {"artifacts": [1]},
    {"artifacts": [{}]},
    {"artifacts": [{"path": 1, "sha256": ""}]},
    {"artifacts": [{"path": "report.json"}]},
    {"artifacts": [{"path": "report.json", "sha256": None}]},
    {"artifacts": [{"path": "report.json", "sha256": "", "stage": 1}]},
    {"artifacts": []},
    {"artifacts": [], "external": []},
    {"artifacts": [], "external": {"x": 1}},
    {"artifacts": [], "external": {"a\0b": ""}},
]


@pytest.mark.parametrize("manifest", _MALFORMED, ids=json.dumps)
def test_a_manifest_that_is_none_of_ours(tmp_path: Path, manifest: object):
    if isinstance(manifest, dict):
        manifest = {"request": "r", **manifest}

    def spoil() -> None:
        (tmp_path / MANIFEST).write_text(json.dumps(manifest))

    spoil()
    assert finished_files(tmp_path, "r") is None
    amend(tmp_path, {"more.txt": "more"})
    assert (tmp_path / "more.txt").read_text() == "more"
    spoil()
    Store(tmp_path).publish({}, {"report.json": "{}"}, request="r", external={})
    assert finished_files(tmp_path, "r") == ("report.json",)


@pytest.mark.parametrize("path", ["../one", "{}/one", "out/one", ".store/one"])
def test_files_outside_make_no_finished_run(tmp_path: Path, path: str):
    root = tmp_path / "run"
    (root / ".store").mkdir(parents=True)
    (root / "out").symlink_to(tmp_path)
    for folder in (tmp_path, root / ".store"):
        (folder / "one").write_text("1")
    digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"  # sha256 of "1"
    entries = [{"path": path.format(tmp_path), "sha256": digest}]
    (root / MANIFEST).write_text(json.dumps({"request": "r", "artifacts": entries, "external": {}}))
    assert finished_files(root, "r") is None


def without_parents(parents: str) -> str:
    return f'{{"files": {{}}, "parents": {parents}, "seed": 0, "packages": {{}}, "machine": {{}}}}'


NO_RECORDS = ["[]", "{}", '{"files": []}', '{"files": {"out.txt": 1}}', "[" * 100_000]


@pytest.mark.parametrize("record", [*NO_RECORDS, without_parents("5"), without_parents("[5]")])
def test_a_record_that_is_none_of_ours(tmp_path: Path, record: str):
    calls: list[str] = []
    artifact = make(Store(tmp_path), calls)
    (artifact.folder / "stage.json").write_text(record)
    identity = described().identity()
    assert Store(tmp_path).find(identity) is None
    make(Store(tmp_path), calls).path("out.txt")
    assert len(calls) == 2


@pytest.mark.parametrize("link", [False, True])
def test_what_lies_in_the_place_of_an_artifact_makes_room(tmp_path: Path, link: bool):
    """A link's own folder stays: it is somebody else's."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_text("theirs")
    artifact = make(Store(tmp_path / "run"), [])
    artifact.folder.rename(tmp_path / "away")
    artifact.folder.symlink_to(other) if link else artifact.folder.write_text("no folder")
    assert make(Store(tmp_path / "run"), []).path("out.txt").read_text() == "x"
    assert (other / "kept").read_text() == "theirs"


def test_a_store_that_breaks_under_way_is_a_stage_error(tmp_path: Path):
    store = Store(tmp_path)
    (tmp_path / ".store" / "runs" / "own.json").mkdir()
    with pytest.raises(StageError, match=r"stage: .*own\.json"):
        make(store, [])


def test_looking_for_a_finished_run_creates_nothing(tmp_path: Path):
    assert finished_files(tmp_path / "none", "r") is None
    assert finished_files(tmp_path, "r") is None
    assert list(tmp_path.iterdir()) == []


def test_out_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        Store(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_out_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        Store(tmp_path / "file" / "below")


def test_two_runs_in_one_folder_do_not_mix(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from edgeproof.pipeline.store.store import Store\n"
        "with Store(Path(sys.argv[1])).locked(): pass"
    )

    def second() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)

    with Store(tmp_path).locked():
        refused = second()
    assert refused.returncode != 0
    assert "another edgeproof is building here" in refused.stderr
    assert second().returncode == 0


def test_a_full_disk_is_a_stage_error(tmp_path: Path):
    def work(folder: Path) -> None:
        raise OSError(28, os.strerror(28), str(folder / "big"))

    with pytest.raises(StageError, match="No space left on device"):
        Store(tmp_path).make(described(), work)


def test_a_finished_run_notices_changed_data(tmp_path: Path):
    """A folder and a file outside the run, known by sizes and times."""
    folder, single = tmp_path / "images", tmp_path / "extra.npz"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "1.png").write_bytes(b"one")
    single.write_bytes(b"many")
    store = Store(tmp_path / "run")

    def finished() -> bool:
        return finished_files(tmp_path / "run", "asked") is not None

    def publish() -> None:
        external = {str(path): fingerprint(path) for path in (folder, single)}
        store.publish({}, {"report.json": "{}"}, request="asked", external=external)
        assert finished()

    publish()
    (folder / "cat" / "2.png").write_bytes(b"two")
    assert not finished()
    publish()
    (folder / "cat" / "2.png").rename(folder / "cat" / "3.png")
    assert not finished()
    publish()
    single.write_bytes(b"more")  # of the same size
    os.utime(single, ns=(1, 1))
    assert not finished()
    publish()
    single.unlink()
    assert not finished()


def test_the_code_digest_follows_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert code_digest("edgeproof.stages.export") != code_digest("edgeproof.stages.latency.bench")
    from edgeproof.pipeline.store import code_digest as code

    real = code._source("edgeproof.targets.signature")
    assert real is not None
    before = code_digest("edgeproof.stages.export")
    changed = tmp_path / "signature.py"
    changed.write_text(real.read_text() + "\n# a change\n")
    original = code._source
    monkeypatch.setattr(code, "_source", lambda name: changed if name.endswith(".signature") else original(name))
    assert code_digest("edgeproof.stages.export") != before, "export imports signature"
    assert code_digest("edgeproof.stages.threat") == code_digest("edgeproof.stages.threat")
