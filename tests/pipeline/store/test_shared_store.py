"""A store that runs share: made once, waited for, and safe when a process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.store.artifact import Artifact, Stage
from edgeproof.pipeline.store.manifest import MANIFEST
from edgeproof.pipeline.store.place import ENVIRONMENT
from edgeproof.pipeline.store.store import Store

# A process that makes one stage, slowly: it says in `log` when it works, and what the stage holds.
_MAKER = """
import sys, time
from pathlib import Path
from edgeproof.pipeline.store.artifact import Stage
from edgeproof.pipeline.store.store import Store
run, shared, log, seconds, resumable = sys.argv[1:]
def work(folder):
    with open(log, "a") as file:
        file.write(f"{run} begins with {sorted(path.name for path in folder.iterdir())}\\n")
    (folder / "half.txt").write_text("half")
    time.sleep(float(seconds))
    (folder / "out.txt").write_text("whole")
store = Store(Path(run), print, Path(shared))
with store.locked():
    stage = Stage("stage", config={}, inputs={}, code=[], packages=[], resumable=resumable == "yes")
    made = store.make(stage, work)
    store.publish({"out.txt": (made, "out.txt")}, {}, request="r", external={})
"""


def maker(tmp_path: Path, run: str, seconds: float, resumable: bool = False) -> subprocess.Popen[str]:
    arguments = [str(tmp_path / run), str(tmp_path / "shared"), str(tmp_path / "log"), str(seconds)]
    command = [sys.executable, "-c", _MAKER, *arguments, "yes" if resumable else "no"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def begun(tmp_path: Path, times: int = 1) -> list[str]:
    """The lines of the log, once there are so many."""
    log, deadline = tmp_path / "log", time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = log.read_text().splitlines() if log.exists() else []
        if len(lines) >= times:
            return lines
        time.sleep(0.02)
    raise AssertionError("no process began")


def make(run: Path, shared: Path | None, calls: list[str]) -> Artifact:
    def work(folder: Path) -> None:
        calls.append(run.name)
        (folder / "out.txt").write_text("x")

    store = Store(run, shared=shared)
    artifact = store.make(Stage("teacher", config={}, inputs={}, code=[], packages=[]), work)
    store.publish({"teacher/out.txt": (artifact, "out.txt")}, {}, request="r", external={})
    return artifact


def test_two_runs_make_one_teacher_once(tmp_path: Path):
    calls: list[str] = []
    shared = tmp_path / "shared"
    for name in ("one", "two"):
        artifact = make(tmp_path / name, shared, calls)
        assert (tmp_path / name / "teacher" / "out.txt").read_text() == "x"
        manifest = json.loads((tmp_path / name / MANIFEST).read_text())
        assert manifest["store"] == [f"teacher/{artifact.key}"]
        assert str(tmp_path) not in json.dumps(manifest), "a manifest names no place on this machine"
    assert calls == ["one"]


def test_the_environment_names_the_store_and_the_option_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "shared"))
    make(tmp_path / "one", None, calls)
    make(tmp_path / "two", None, calls)
    make(tmp_path / "three", tmp_path / "three" / ".store", calls)
    assert calls == ["one", "three"]
    assert not (tmp_path / "one" / ".store" / "teacher").exists()


@pytest.mark.parametrize("named", ["option", "environment"])
def test_a_store_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str):
    (tmp_path / "file").write_text("mine")
    if named == "environment":
        monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "file"))
    begins = f"^--store {tmp_path}/file: " if named == "option" else f"^EDGEPROOF_STORE={tmp_path}/file: "
    with pytest.raises(UsageError, match=begins + "cannot be written"):
        Store(tmp_path / "run", shared=tmp_path / "file" if named == "option" else None)


def test_what_two_processes_want_is_made_by_one(tmp_path: Path):
    first = maker(tmp_path, "one", 2.0)
    begun(tmp_path)
    second = maker(tmp_path, "two", 2.0)
    said = second.communicate(timeout=60)[0]
    assert first.wait(60) == second.returncode == 0
    assert "another edgeproof is making it; waiting" in said
    assert len(begun(tmp_path)) == 1
    for run in ("one", "two"):
        assert (tmp_path / run / "out.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "shared" / "locks").iterdir()] == ["store.lock"]
    assert not list((tmp_path / "shared" / "partial").iterdir())


@pytest.mark.parametrize("resumable", [False, True])
def test_who_waits_goes_on_when_the_maker_is_killed(tmp_path: Path, resumable: bool):
    first = maker(tmp_path, "one", 60, resumable)
    begun(tmp_path)
    second = maker(tmp_path, "two", 0, resumable)
    assert second.stdout is not None
    assert "waiting" in second.stdout.readline()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second.communicate(timeout=60)
    assert second.returncode == 0
    _, again = begun(tmp_path, 2)
    assert again == f"{tmp_path / 'two'} begins with {['half.txt'] if resumable else []}"
    assert (tmp_path / "two" / "out.txt").read_text() == "whole"
