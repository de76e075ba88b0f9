"""What a store keeps: all that a run names, what that was made from, and what a process is making."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from edgeproof.core.errors import StageError, UsageError
from edgeproof.pipeline.commands.store import list_store, prune_store
from edgeproof.pipeline.store.artifact import Artifact, Stage
from edgeproof.pipeline.store.manifest import MANIFEST
from edgeproof.pipeline.store.place import ENVIRONMENT, Place
from edgeproof.pipeline.store.prune import prune, seconds_of
from edgeproof.pipeline.store.store import Store


def make(store: Store, stage: str, config: object, parents: tuple[Artifact, ...] = ()) -> Artifact:
    def work(folder: Path) -> None:
        (folder / "out.txt").write_text(f"{stage} {config}")

    inputs = {parent.stage: parent.key for parent in parents}
    described = Stage(stage, config={"setting": config}, inputs=inputs, code=[], packages=[], parents=parents)
    return store.make(described, work)


def build(run: Path, shared: Path | None, config: object) -> dict[str, Artifact]:
    """A teacher, its student and a hidden attack, of which only the student is in the run's folder."""
    store = Store(run, shared=shared)
    with store.locked():
        teacher = make(store, "teacher", 1)
        student = make(store, "student", config, (teacher,))
        attack = make(store, "attack/student", config, (student,))
        store.publish({"student/out.txt": (student, "out.txt")}, {}, request="r", external={})
    return {"teacher": teacher, "student": student, "attack": attack}


def standing(*artifacts: Artifact) -> list[bool]:
    return [artifact.folder.is_dir() for artifact in artifacts]


def test_what_a_run_names_stays_and_its_parents_too(tmp_path: Path):
    shared = tmp_path / "shared"
    first, second = build(tmp_path / "one", shared, 1), build(tmp_path / "two", shared, 2)
    assert prune_store(shared)["removed"] == []
    build(tmp_path / "two", shared, 3)
    gone = prune_store(shared)
    assert [each["stage"] for each in gone["removed"]] == ["attack/student", "student"]
    assert standing(second["student"], second["attack"], *first.values()) == [False, False, True, True, True]
    shutil.rmtree(tmp_path / "one")
    prune_store(shared)
    assert standing(first["student"], first["attack"], first["teacher"]) == [False, False, True], "run two names it"
    shutil.rmtree(tmp_path / "two")
    assert prune_store(shared)["kept"] == 0
    assert not [path for path in shared.rglob("*") if path.is_file() and path.name != "store.lock"]


def test_a_manifest_of_an_older_version_counts(tmp_path: Path):
    """It lists what is in the folder; what that was made from stays too."""
    made = build(tmp_path / "run", None, 1)
    manifest = json.loads((tmp_path / "run" / MANIFEST).read_text())
    del manifest["store"]
    (tmp_path / "run" / MANIFEST).write_text(json.dumps(manifest))
    shutil.rmtree(tmp_path / "run" / ".store" / "runs")
    prune_store(tmp_path / "run")
    assert standing(made["teacher"], made["student"], made["attack"]) == [True, True, False]


def test_a_run_folder_that_was_moved_keeps_its_own_store(tmp_path: Path):
    build(tmp_path / "run", None, 1)
    (tmp_path / "run").rename(tmp_path / "moved")
    for folder in (tmp_path / "moved", tmp_path / "moved" / ".store"):
        assert prune_store(folder)["removed"] == []


def test_what_was_taken_but_not_yet_published_stays(tmp_path: Path):
    """A build that runs, or was killed and will go on, has trained its teacher."""
    shared = tmp_path / "shared"
    teacher = make(Store(tmp_path / "run", shared=shared), "teacher", 1)
    assert prune_store(shared)["removed"] == []
    assert standing(teacher) == [True]


def test_what_a_process_makes_stays_and_what_a_killed_one_left_goes(tmp_path: Path):
    shared = tmp_path / "shared"
    store = Store(tmp_path / "run", shared=shared)
    seen: list[object] = []

    def work(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        shutil.rmtree(shared / "runs")  # even if nothing refers to it
        seen.append((prune_store(shared)["removed"], (folder / "half.txt").is_file()))
        raise StageError("broken")

    with pytest.raises(StageError):
        store.make(Stage("stage", config={}, inputs={}, code=[], packages=[], resumable=True), work)
    assert seen == [([], True)]
    (left,) = prune_store(shared)["removed"]
    assert left["stage"].startswith("partial/stage-")
    assert not list((shared / "partial").iterdir())


def test_only_what_is_old_and_only_when_it_is_meant(tmp_path: Path):
    shared = tmp_path / "shared"
    made = build(tmp_path / "run", shared, 1)
    shutil.rmtree(tmp_path / "run")
    month = time.time() - 31 * 86400
    for path in (*made["attack"].folder.iterdir(), made["attack"].folder):
        os.utime(path, (month, month))
    dry = prune_store(shared, older_than="30d", dry_run=True)
    assert [each["stage"] for each in dry["removed"]] == ["attack/student"]
    assert standing(*made.values()) == [True, True, True]
    size = sum(path.stat().st_size for path in made["attack"].folder.iterdir())
    assert prune_store(shared, older_than="30d")["freed_bytes"] == dry["freed_bytes"] == size
    assert standing(*made.values()) == [True, True, False]


def test_being_taken_again_makes_it_young(tmp_path: Path):
    shared = tmp_path / "shared"
    teacher = build(tmp_path / "one", shared, 1)["teacher"]
    month = time.time() - 31 * 86400
    os.utime(teacher.folder, (month, month))
    assert teacher.folder.stat().st_mtime == month
    build(tmp_path / "two", shared, 2)
    assert time.time() - teacher.folder.stat().st_mtime < 60


def test_the_list_tells_sizes_and_runs(tmp_path: Path):
    shared = tmp_path / "shared"
    made = build(tmp_path / "one", shared, 1)
    build(tmp_path / "two", shared, 2)
    found = list_store(shared)
    assert found["size_bytes"] == sum(each["size_bytes"] for each in found["artifacts"])
    (teacher,) = (each for each in found["artifacts"] if each["stage"] == "teacher")
    assert teacher["key"] == made["teacher"].key
    assert sorted(teacher["runs"]) == [
        str(tmp_path / "one"),
        str(tmp_path / "two"),
    ]


def test_what_is_not_the_stores_stays(tmp_path: Path):
    """Somebody named a folder of theirs as the store: files of theirs may lie where ours do."""
    theirs = {
        "partial/draft/chapter.txt": "",
        "partial/notes.txt": "",
        "trash/old/letter.txt": "",
        "locks/poetry.lock": "",
        "runs/experiment.json": json.dumps({"run": "/nowhere/at/all"}),
        "runs/4711.json": json.dumps({"run": "/nowhere/at/all", "artifacts": []}),
        "paper/4f2a/stage.json": "{}",
    }
    build(tmp_path / "run", tmp_path, 1)
    for name, text in theirs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.rmtree(tmp_path / "run")
    assert len(prune_store(tmp_path)["removed"]) == 3
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
        *theirs,
        "locks/store.lock",
    }


def test_a_folder_that_only_looks_like_a_store(tmp_path: Path):
    (tmp_path / "partial" / f"draft-{'0' * 24}").mkdir(parents=True)
    with pytest.raises(UsageError, match="no store"):
        prune_store(tmp_path)


def test_a_store_of_a_version_without_locks(tmp_path: Path):
    made = build(tmp_path, None, 1)
    for name in ("locks", "runs"):
        shutil.rmtree(tmp_path / ".store" / name)
    prune_store(tmp_path)
    assert standing(made["student"], made["teacher"]) == [True, True]


@pytest.mark.parametrize("run", ["x" * 5000, "a/../" * 2000 + "y" * 300, "\0", "\ud800/x"])
def test_a_record_of_a_run_that_can_be_nowhere(tmp_path: Path, run: str):
    shared = tmp_path / "shared"
    made = build(tmp_path / "one", shared, 1)
    (shared / "runs" / f"{'0' * 24}.json").write_text(json.dumps({"run": run, "artifacts": ["../../x", "teacher/1"]}))
    assert len(list_store(shared)["artifacts"]) == 3
    assert prune_store(shared)["removed"] == []
    assert all(standing(*made.values()))


def test_a_prune_that_was_killed_is_finished_by_the_next(tmp_path: Path):
    shared = tmp_path / "shared"
    build(tmp_path / "run", shared, 1)
    (shared / "trash" / "1-1" / "0").mkdir(parents=True)
    prune(Place(shared, shared))
    assert not (shared / "trash").exists()


@pytest.mark.parametrize("age", ["", "d", "3", "-3d", "3x", "1.5d", "³d", "9999999d"])
def test_no_such_age(age: str):
    with pytest.raises(UsageError, match="--older-than"):
        seconds_of(age)


def test_no_such_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="no store is named"):
        list_store(None)
    with pytest.raises(UsageError, match="no such folder"):
        list_store(tmp_path / "none")
    with pytest.raises(UsageError, match="no store, nor a run"):
        prune_store(tmp_path)
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "none"))
    with pytest.raises(UsageError, match=f"^{ENVIRONMENT}: "):
        list_store(None)
