"""SIGKILL at random moments, seeded: the same command again ends as one that nobody killed, and leaves nothing else.

A few here, `make fuzz KILLS=100` for more; they are shared out among the commands.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from edgeproof.pipeline.bundle.device.replay_bundle import replay_bundle
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.store.artifact import Stage
from edgeproof.pipeline.store.store import Store

from tests.e2e.conftest import FEW, QUICK, small_recipe
from tests.fuzz.test_fuzz import SEED, count
from tests.fuzz.victims import Command
from tests.pipeline.bundle.conftest import attacks, finished

__all__ = ["attacks", "finished"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

KILLS = count("KILLS", 4)
# The dear ones last; a build is killed in tests/e2e/test_build.py, too.
NAMES = ["bundle", "bundle again", "device", "store prune", "recover", "build", "verify"]
SHARES = {name: len(range(place, KILLS, len(NAMES))) for place, name in enumerate(NAMES) if place < KILLS}
ON_DIGITS = ["--dataset", "digits", "--eps", "0.1"]
SMALLER = ["teacher.train.epochs=2", "distill.epochs=2", "bench={batches: [1], repeats: 10, warmup: 1}"]
STEPS = ["teacher.train", "distill"]
SMALLER += [f"{stage}.{steps}=2" for stage in STEPS for steps in ("inner.steps", "selection_steps")]


def sets(*overrides: str) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


@pytest.fixture(scope="module")
def commands(
    finished: Path, float_onnx: Path, int8_onnx: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Command]:
    """Every command that makes more than one file, or takes its time for it."""
    device = tmp_path_factory.mktemp("device")
    make_bundle(finished, plain=True, out=device / "bundle")
    replay_bundle(device / "bundle", out=device / "device-report.json", device="box")

    def files(*sources: Path) -> Callable[[Path], object]:
        def prepare(folder: Path) -> None:
            for source in sources:
                to = folder / ("float.onnx" if source == float_onnx else source.name)
                (shutil.copytree if source.is_dir() else shutil.copy)(source, to)

        return prepare

    recover = sets("recover.epochs=3", "recover.inner.steps=2", "recover.selection_steps=2")
    verify = ["--workers", "2", "--samples", "16", *sets("verify.shard_size=4")]
    build = [*map(str, small_recipe(Path("out"))), *sets(*QUICK, *SMALLER), "--workers", "1"]
    return {
        "build": Command(lambda _: None, ["build", *build]),
        "verify": Command(
            files(int8_onnx), ["verify", "model.onnx", *ON_DIGITS, *FEW, *verify, "--out", "out"], (0, 4)
        ),
        "recover": Command(
            files(int8_onnx, float_onnx),
            ["recover", "model.onnx", "--teacher", "float.onnx", *ON_DIGITS, *recover, "--out", "out"],
        ),
        "device": Command(files(finished, device / "device-report.json"), ["device", "run", "device-report.json"]),
        "bundle": Command(files(finished), ["bundle", "run", "--plain", "--out", "bundle.tar"]),
        "bundle again": Command(files(finished, device / "bundle"), ["bundle", "run", "--plain", "--out", "bundle"]),
        "store prune": Command(two_runs_of_which_one_is_gone, ["store", "prune", "store"]),
    }


def two_runs_of_which_one_is_gone(folder: Path) -> None:
    """A store that they shared."""
    for run in ("kept", "gone"):
        store = Store(folder / run, shared=folder / "store")
        made = [
            store.make(
                Stage(f"stage{number}", {"run": run}, {}, code=[], packages=[]),
                lambda place: [(place / name).write_text(name) for name in "abc"],
            )
            for number in range(4)
        ]
        view = {f"{artifact.stage}/a": (artifact, "a") for artifact in made}
        store.publish(view, {}, request="asked", external={})
    shutil.rmtree(folder / "gone")


@pytest.mark.parametrize("name", SHARES)
def test_kills(name: str, commands: dict[str, Command], tmp_path: Path):
    # Always the same place: some files tell where they lie.
    command, place, began = commands[name], tmp_path / "place", time.monotonic()
    unkilled, killed, attempt = command.unkilled(place), 0, 0
    while killed < SHARES[name]:
        rng = random.Random(f"{SEED}/{name}/{attempt}")
        killed += command.killed(place, unkilled, rng, min(rng.randint(1, 4), SHARES[name] - killed))
        attempt += 1
    seconds = time.monotonic() - began
    print(f"\nkills of {name}: {killed}, {attempt} times to its end: the same files; {seconds:.0f} s", end="")
