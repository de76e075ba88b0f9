"""One small real run that the end-to-end tests look at."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from edgeproof.stages.data import Dataset

from tests import warm
from tests.shared import made_once, shared_folder

ROOT = Path(__file__).parents[2]

# Test processes run side by side; threads would fight over the cores. What several of them make is made once.
STORE = {"EDGEPROOF_STORE": str(shared_folder() / "store")}
ENV = {**os.environ, "OMP_NUM_THREADS": "1", **STORE}
# Everything real, everything small: seconds instead of minutes, and gates to match.
SMALL = [
    "teacher.train.epochs=2",
    "distill.epochs=3",
    "verify.samples=24",
    "verify.shard_size=24",
    "verify.square_queries=50",
    "verify.backward=[relu]",
    "verify.isolate=false",
    "bench.repeats=20",
    "gates={clean_accuracy: '>= 0.5'}",
]
# For tests that do not look at what the attacks find.
QUICK = ["verify.attacks=[apgd-ce, square]", "verify.routes=[replay, square]"]
# For those that look at no accuracy over eps: its six balls cost as much as the attacks of so few samples.
NO_CURVE = "verify.curve=null"
# Likewise, for `verify`.
FEW = ["--set", "verify.square_queries=50", "--set", "verify.backward=[relu]", "--set", NO_CURVE]


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str


def edgeproof(*arguments: str | Path, cwd: Path | None = None) -> Finished:
    """Run the command line in a process of its own."""
    return Finished(*warm.run([*map(str, arguments)], cwd, ENV))


def small_build(out: Path, *more: str | Path) -> list[str | Path]:
    """The arguments of the small run; tests use one worker each."""
    return ["build", *small_recipe(out), "--workers", "1", *more]


def small_recipe(out: Path, *more: str | Path) -> list[str | Path]:
    """The small recipe for a command that runs a part of it."""
    overrides = [part for override in SMALL for part in ("--set", override)]
    return [ROOT / "examples" / "digits.yaml", "--out", out, *overrides, *more]


def with_checkpoint(path: Path, *more: str) -> list[str]:
    """The options that take the teacher from a checkpoint."""
    overrides = ["teacher.train=null", f"teacher.checkpoint={path}", *more]
    return [part for override in overrides for part in ("--set", override)]


@pytest.fixture(autouse=True)
def _shared_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """For commands and functions that run in this process."""
    for name, value in STORE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This worker's own copy, with a store of its own: some tests change it, and put it right again."""

    def build(folder: Path) -> None:
        out, shared = folder / "digits", Path(STORE["EDGEPROOF_STORE"])
        done = edgeproof(*small_build(out))
        assert done.code == 0, done.err
        # What it took from the store that tests share, it finds in its own.
        records = [json.loads(path.read_text()) for path in (shared / "runs").glob("*.json")]
        (taken,) = [record["artifacts"] for record in records if record["run"] == str(out)]
        for artifact in taken:
            shutil.copytree(shared / artifact, out / ".store" / artifact)
        done = Finished(*warm.run([*map(str, small_build(out))], None, {**ENV, "EDGEPROOF_STORE": ""}))
        assert done.code == 0, done.err

    return Path(shutil.copytree(made_once("run", build) / "digits", tmp_path_factory.mktemp("runs") / "digits"))


@pytest.fixture(scope="session")
def prepared(float_onnx: Path, int8_onnx: Path, digits: Dataset) -> Path:
    """What the pages speak of: a small recipe and its finished run, three ONNX files, two checkpoints, some photos."""

    def prepare(folder: Path) -> None:
        _prepare_page(folder, float_onnx, int8_onnx, digits)

    return made_once("prepared", prepare)


def _prepare_page(folder: Path, float_onnx: Path, int8_onnx: Path, digits: Dataset) -> None:
    from edgeproof.pipeline.recipe.read import read_recipe

    from tests.e2e.docs_runner import SMALL_RECIPE, exit_code
    from tests.e2e.vendor import as_vendors_ship

    recipe = read_recipe(ROOT / "examples" / "digits.yaml", [*SMALL_RECIPE, "gates={clean_accuracy: '>= 0.1'}"])
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("EDGEPROOF_STORE", "")
        assert exit_code(["build", "recipe.yaml", "--workers", "1"]) in (0, 1, 4)
    for name in ("before", "after"):
        shutil.copytree(folder / "runs" / "digits", folder / "runs" / name)
    shutil.copy(folder / "runs" / "digits" / "teacher" / "model.safetensors", folder / "teacher.safetensors")
    shutil.copy(ROOT / "tests" / "data" / "student.safetensors", folder / "student.safetensors")
    shutil.copy(float_onnx, folder / "float.onnx")
    shutil.copy(int8_onnx, folder / "model.onnx")
    as_vendors_ship(float_onnx, folder / "vendor.onnx")
    test = digits.test.take(slice(0, 8))
    np.savez(folder / "photos.npz", images=np.round(test.images * 255).astype(np.uint8), labels=test.labels)
