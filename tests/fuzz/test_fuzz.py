"""Fuzzers of every file that is read: no traceback, no hang, nothing written outside; seeded.

Some of each kind here; `make fuzz RECIPES=10000 ONNX=10000 JSON=5000 ARCHIVES=2000 PROCESSES=200` for long runs, which
print their counts. What fails is kept in `build/fuzz`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.bundle.device.replay_bundle import replay_bundle
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.commands.gate import gate

from tests import warm
from tests.fuzz import doors
from tests.fuzz.mutations import YAML, mutated_archive, mutated_bytes, mutated_json, mutated_onnx, mutated_text
from tests.pipeline.bundle.conftest import attacks, finished

__all__ = ["attacks", "finished"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "fuzz"
OLD = ROOT / "tests" / "data" / "written_by_0_1" / "run"
SEED = int(os.environ.get("FUZZ_SEED", "0"))


# A page takes a second to draw.
_PAGES = 10


def count(kind: str, usual: int) -> int:
    return int(os.environ.get(f"FUZZ_{kind}", "") or usual)


RECIPES, ONNX, JSON, ARCHIVES = (
    count(*each) for each in (("RECIPES", 300), ("ONNX", 60), ("JSON", 60), ("ARCHIVES", 40))
)
PROCESSES = count("PROCESSES", 1)


def told(kind: str, tried: int, found: Counter[bool], seconds: float) -> None:
    print(f"\n{kind}: {tried} tried, {found[True]} read, {found[False]} refused in a line; {seconds:.0f} s", end="")


def walk(kind: str, tried: int, once: Callable[[random.Random, int], tuple[Path, Callable[[], object]]]) -> None:
    """Try so many files; keep the first of each way to fail, and fail with all of them."""
    found, wrong, began = Counter[bool](), dict[str, str](), time.monotonic()
    for number in range(tried):
        path, read = once(random.Random(f"{SEED}/{kind}/{number}"), number)
        kept = path.read_bytes()
        try:
            found[doors.ends(read)] += 1
        except (Exception, doors.Hung) as error:
            name = f"{kind}-{number}{path.suffix}"
            way = _way(error)
            if way not in wrong:
                KEPT.mkdir(parents=True, exist_ok=True)
                (KEPT / name).write_bytes(kept)
                wrong[way] = f"{name} ({path.name}): {error!r:.200}"
    told(kind, tried, found, time.monotonic() - began)
    assert not wrong, "\n".join(f"{way}: {what}" for way, what in wrong.items())


def _way(error: BaseException) -> str:
    place = error.__traceback__
    lines = list[str]()
    while place is not None:
        lines.append(f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}")
        place = place.tb_next
    return f"{type(error).__name__} {' '.join(lines[-3:])}"


def recipes() -> list[str]:
    return [path.read_text() for path in sorted((ROOT / "examples").glob("*.yaml"))]


def test_recipes(tmp_path: Path):
    texts, path = recipes(), tmp_path / "recipe.yaml"

    def once(rng: random.Random, _: int) -> tuple[Path, Callable[[], object]]:
        path.write_bytes(mutated_text(rng.choice(texts), rng, YAML))
        return path, lambda: doors.recipe(path)

    walk("recipes", RECIPES, once)


def test_onnx_files(float_onnx: Path, int8_onnx: Path, tmp_path: Path):
    contents, path = [float_onnx.read_bytes(), int8_onnx.read_bytes()], tmp_path / "model.onnx"

    def once(rng: random.Random, _: int) -> tuple[Path, Callable[[], object]]:
        path.write_bytes(mutated_onnx(rng.choice(contents), rng))
        return path, lambda: doors.onnx_file(path)

    walk("onnx", ONNX, once)


@pytest.fixture(scope="module")
def whole(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every JSON file that is read."""
    run = Path(shutil.copytree(finished, tmp_path_factory.mktemp("whole") / "run"))
    make_bundle(run, plain=True, out=run.parent / "bundle")
    replay_bundle(run.parent / "bundle", out=run.parent / "device-report.json", device="box")
    gate(run, require=["clean_accuracy >= 0.1"], baseline=run.parent / "baseline.json", update_baseline=True)
    shutil.copytree(run.parent / "bundle", run / "bundle")
    for name in ("device-report.json", "baseline.json"):
        shutil.copy(run.parent / name, run / name)
    cut = {"parameters": 1, "multiply_adds": 1}
    (run / "pruning.json").write_text(
        json.dumps(
            {
                "schema_version": 1,
                "model": "m",
                "image_shape": [1, 8, 8],
                "classes": 10,
                "seed": 0,
                "config": {},
                "channels": 1,
                "before": cut,
                "after": cut,
                "rounds": [],
                "whole": {},
                "accuracy_before": {"clean": 0.5, "pgd": 0.5},
                "layers": {"c": {"outputs": [0], "inputs": []}},
            }
        )
    )
    return run


def test_json_files(whole: Path, tmp_path: Path):
    runs = {whole: ["report.json"] * 3, OLD: ["report.json"] * 3}
    for run, names in runs.items():
        names += [path.relative_to(run).as_posix() for path in sorted(run.rglob("*.json"))]
    contents = {run: {name: json.loads((run / name).read_text()) for name in names} for run, names in runs.items()}
    copies = {run: doors.copied(run, tmp_path / str(place)) for place, run in enumerate(runs)}

    def once(rng: random.Random, number: int) -> tuple[Path, Callable[[], object]]:
        run = rng.choice(list(runs))
        name = rng.choice(runs[run])
        copy = copies[run] = doors.copied(run, copies[run])
        (copy / name).write_bytes(mutated_json(contents[run][name], rng))
        return copy / name, lambda: doors.json_file(copy, name, page=number % _PAGES == 0)

    walk("json", JSON, once)


def test_archives(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    outside = tmp_path / "outside"
    (outside / "unpacked").mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(outside / "unpacked"))

    def once(rng: random.Random, _: int) -> tuple[Path, Callable[[], object]]:
        if rng.random() < 0.2:
            folder = doors.copied(whole / "bundle", outside / "bundle")
            path = rng.choice([each for each in sorted(folder.rglob("*")) if each.is_file()])
            path.write_bytes(mutated_bytes(path.read_bytes(), rng))
            return path, lambda: doors.archive(folder, outside)
        path = outside / rng.choice(["a.tar", "a.zip"])
        mutated_archive(whole / "bundle", path, rng)
        return path, lambda: doors.archive(path, outside)

    walk("archives", ARCHIVES, once)


def as_process(arguments: Sequence[str | Path], folder: Path, *, afresh: bool) -> None:
    """Run the command line, which ends in a verdict, or in a line and exit 2 or 3, which is raised here.

    Args:
        arguments: its own.
        folder: where it is run, and writes.
        afresh: by an interpreter that starts with nothing, not by a fork of one that has imported everything.
    """
    limit = float(os.environ.get("FUZZ_SECONDS", "60"))
    code, err = (_interpreted if afresh else _forked)([*map(str, arguments)], folder, limit)
    assert "Traceback" not in err
    assert "\x1b[31m" not in err
    if code in (2, 3):
        assert len(err.splitlines()) == 1, err
        raise UsageError(err)
    assert code in (0, 1, 4), f"{code}: {err}"


def _interpreted(arguments: Sequence[str], folder: Path, limit: float) -> tuple[int, str]:
    command = [sys.executable, "-m", "edgeproof", *arguments]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=limit)
    return found.returncode, found.stderr


def _forked(arguments: Sequence[str], folder: Path, limit: float) -> tuple[int, str]:
    process = warm.Process(arguments, folder)
    if not warm.until(lambda: process.poll() is not None, limit):
        process.kill()
        raise subprocess.TimeoutExpired([*arguments], limit)
    return process.wait(), process.said()[1]


def test_processes(whole: Path, float_onnx: Path, tmp_path: Path):
    """The same mutations through the command line, one in ten in an interpreter that starts afresh.

    `FUZZ_SECONDS` is the limit of each.
    """
    texts, model = recipes(), float_onnx.read_bytes()

    def once(rng: random.Random, number: int) -> tuple[Path, Callable[[], object]]:
        kind, afresh = ("recipe", "onnx", "json", "archive")[number % 4], number // 4 % 10 == 0
        if kind == "recipe":
            path = tmp_path / "recipe.yaml"
            # What is legal would be trained; a key that nobody knows is said last.
            path.write_bytes(mutated_text(rng.choice(texts), rng, YAML) + b"\nnobody_knows: 1\n")
            return path, lambda: as_process(["build", path], tmp_path, afresh=afresh)
        if kind == "onnx":
            path = tmp_path / "model.onnx"
            path.write_bytes(mutated_onnx(model, rng))
            return path, lambda: as_process(["lint", path], tmp_path, afresh=afresh)
        if kind == "json":
            run = doors.copied(whole, tmp_path / "run")
            path = run / "report.json"
            path.write_bytes(mutated_json(json.loads((whole / "report.json").read_text()), rng))
            return path, lambda: as_process(["report", run], tmp_path, afresh=afresh)
        path = tmp_path / rng.choice(["a.tar", "a.zip"])
        mutated_archive(whole / "bundle", path, rng)
        return path, lambda: as_process(["verify-bundle", path], tmp_path, afresh=afresh)

    walk("processes", 4 * PROCESSES, once)
