"""Commands that are killed by SIGKILL at a chosen moment, and what such a command has left behind."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeproof.core.reading.checksum import CHECKSUM, is_whole
from edgeproof.pipeline.reports import render
from edgeproof.pipeline.results.report import Report

from tests import warm
from tests.cpu_seconds import of_process
from tests.e2e.conftest import ENV

# What only a clock says, by key, column or name of a file.
_MEASURED = {"bench", "latency_ms", "latency_ratio", "seconds", "started", "images_per_second", "cpu_load"}
_SCRIPT = """
import os, signal, sys, tempfile
os.setsid()
tempfile.tempdir = None  # of this environment
own, counted, last = os.getpid(), 0, int(os.environ["KILLED_AT"])
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime"}

def watch(event, arguments):
    global counted
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if (writes or event in CHANGES) and os.getpid() == own:
        counted += 1
        if counted == last:
            os.kill(0 if os.environ["KILLED_TOO"] else own, signal.SIGKILL)

sys.addaudithook(watch)
from edgeproof.pipeline.cli.main import main
sys.argv = ["edgeproof", *sys.argv[1:]]
try:
    main()
finally:
    own = None
    with open(os.environ["COUNTED"], "w") as file:
        file.write(str(counted))
"""


@dataclass(frozen=True)
class Unkilled:
    """A command that nobody killed.

    Attributes:
        changes: how often it changed the file system: files opened to be written, renamed, removed, …
        seconds: of CPU, of it and the processes that it waited for.
        left: what its folder holds then; see `left_in`.
        temporary: what its runtimes leave in the folder for temporary files themselves.
    """

    changes: int
    seconds: float
    left: dict[str, Any]
    temporary: set[str]


@dataclass(frozen=True)
class Command:
    """A command, and how its folder is prepared.

    Attributes:
        prepare: fills the folder, which is its working directory.
        arguments: of the command line.
        codes: exit codes that it may end with.
    """

    prepare: Callable[[Path], object]
    arguments: Sequence[str]
    codes: tuple[int, ...] = (0,)

    def unkilled(self, place: Path) -> Unkilled:
        """Run it to its end in a new folder."""
        folder = self._prepared(place)
        process = self._started(folder)
        spent = 0.0
        while process.poll() is None:
            spent = max(spent, _spent(process.pid))
            time.sleep(0.01)
        self._ended(process)
        return Unkilled(int((place / "counted").read_text()), spent, left_in(folder), set(os.listdir(place / "tmp")))

    def killed(self, place: Path, unkilled: Unkilled, rng: random.Random, times: int) -> int:
        """Kill it so many times in a new folder, then run it to its end; return how often it was met while it ran.

        Half of the kills come before a change to the file system, the others at a moment by CPU time; half meet the
        leading process alone, the others all of its session.
        """
        folder, killed = self._prepared(place), 0
        pids = list[int]()
        for _ in range(times):
            everybody = rng.random() < 0.5
            if rng.random() < 0.5:
                process = self._started(folder, rng.randint(1, unkilled.changes), everybody=everybody)
                process.wait()
            else:
                process, moment = self._started(folder), rng.random() * unkilled.seconds
                while process.poll() is None and _spent(process.pid) < moment:
                    time.sleep(0.002)
                if everybody and process.poll() is None and warm.in_session(process.pid):
                    os.killpg(process.pid, 9)
                process.kill()
            killed += process.returncode == -9
            assert process.returncode in (-9, *self.codes), process.said()
            pids.append(process.pid)
        self._ended(self._started(folder))
        for pid in pids:
            assert warm.until(lambda pid=pid: not warm.in_session(pid), 10), f"orphans of {pid}"
        assert not (kept := _shared_memory(pids)), kept
        assert not (kept := set(os.listdir(place / "tmp")) - unkilled.temporary), kept
        left = left_in(folder)
        assert sorted(left) == sorted(unkilled.left), set(left) ^ set(unkilled.left)
        differing = [where for name in left for where in _differing(left[name], unkilled.left[name], name)]
        assert not differing, differing
        return killed

    def _prepared(self, place: Path) -> Path:
        shutil.rmtree(place, ignore_errors=True)
        folder = place / "here"
        folder.mkdir(parents=True)
        (place / "tmp").mkdir()
        (place / "script.py").write_text(_SCRIPT)
        self.prepare(folder)
        return folder

    def _started(self, folder: Path, change: int = 0, *, everybody: bool = False) -> warm.Process:
        place = folder.parent
        own = {"TMPDIR": str(place / "tmp"), "EDGEPROOF_STORE": "", "COUNTED": str(place / "counted")}
        own |= {"KILLED_AT": str(change), "KILLED_TOO": "x" if everybody else ""}
        return warm.Process([*self.arguments], folder, {**ENV, **own}, place / "script.py")

    def _ended(self, process: warm.Process) -> None:
        code = process.wait()
        assert code in self.codes, (code, *process.said())


def _spent(pid: int) -> float:
    """CPU seconds of a process and its children, those that still run among them."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return of_process(str(pid)) + sum(map(of_process, children))


def _shared_memory(pids: Sequence[int]) -> list[str]:
    """What they left there, but for the pool's semaphores, 32 bytes each: who clears them up was killed as well."""
    left = [name for name in os.listdir("/dev/shm") if any(re.search(rf"[-_]{pid}[-_]", name) for pid in pids)]
    for name in left:
        if name.startswith("sem.loky-"):
            Path("/dev/shm", name).unlink()
    return [name for name in left if not name.startswith("sem.loky-")]


def left_in(folder: Path) -> dict[str, Any]:
    """Everything in a folder by its path, without what only a clock says; of finished stages the path alone.

    A training that goes on writes a further file of events: of these it counts whether there is one.

    A report's other forms are compared with what its own `report.json` gives.
    """
    found = dict[str, Any]()
    for path in sorted(folder.rglob("*")):
        name = re.sub(r"events\.out.*|(?<=page/)[0-9a-f]{24}", "…", path.relative_to(folder).as_posix())
        stored = ".store" in path.parts or path.is_dir()
        found[name] = None if stored else _content(path)
    for report in folder.rglob("report.json"):
        if ".store" not in report.parts:
            for name, text in render(Report.load(report)).items():
                path = report.parent / name
                if not path.is_file():  # of a bundle, which has none of them
                    continue
                found[path.relative_to(folder).as_posix()] = path.read_text() == text
    return found


def _differing(one: Any, other: Any, where: str) -> Iterator[str]:
    """Where two contents are not the same."""
    if isinstance(one, (dict, list)) and type(one) is type(other) and len(one) == len(other):
        for key in one if isinstance(one, dict) else range(len(one)):
            if isinstance(one, list) or key in other:
                yield from _differing(one[key], other[key], f"{where}/{key}")
            else:
                yield f"{where}/{key}"
    elif one != other:
        yield f"{where}: {one!r:.200} {other!r:.200}"


def _content(path: Path) -> Any:
    content = path.read_bytes()
    if path.name == "bench.json" or path.name.startswith("events.out"):
        return bool(content)
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(content.decode()))
        return [{key: value for key, value in row.items() if key not in _MEASURED} for row in rows]
    if path.suffix == ".json":
        return _unmeasured(json.loads(content))
    return content


def _unmeasured(value: Any) -> Any:
    if isinstance(value, dict):
        dropped = {"sha256", "path"} if _is_timed(value) else set[str]()
        kept = {key: _unmeasured(each) for key, each in value.items() if key not in _MEASURED | dropped}
        return {**kept, CHECKSUM: is_whole(value)} if CHECKSUM in kept else kept
    if isinstance(value, list):
        return [_unmeasured(each) for each in value if "/tensorboard/" not in str(each)[:200]]
    return re.sub(r"(?<=^page/)[0-9a-f]{24}|[0-9.]+(?= ms)", "…", value) if isinstance(value, str) else value


def _is_timed(entry: dict[str, Any]) -> bool:
    """Whether a manifest's entry is of a file with times in it: texts that follow from them, tables, latencies."""
    path = str(entry.get("path", ""))
    text = "sha256" in entry and "stage" not in entry and "name" not in entry and path != "recipe.yaml"
    return text or path.endswith(("metrics.csv", "bench.json"))
