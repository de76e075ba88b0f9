"""An engine is built again where it would not run: on another GPU, by another version of its runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from edgeproof.pipeline.progress import Reporter
from edgeproof.pipeline.recipe.read import read_recipe
from edgeproof.pipeline.recipe.recipe import parse_recipe
from edgeproof.pipeline.run import RecipeRun
from edgeproof.pipeline.store.artifact import Artifact
from edgeproof.pipeline.store.store import Store
from edgeproof.targets import gpu
from edgeproof.targets.base import Availability, EngineFile, Target, targets
from edgeproof.targets.gpu import Gpu

ROOT = Path(__file__).parents[3]
STUDENT = ROOT / "tests" / "data" / "student.safetensors"
ADA, ORIN = Gpu("NVIDIA L4", "8.9"), Gpu("Orin", "8.7")


class Machine:
    """A machine with some GPU, as far as a build can see."""

    def __init__(self, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpu, self.builds = ADA, 0
        self._name, self._folder, self._monkeypatch = name, folder, monkeypatch
        kind = type(targets[name])

        def build(target: Target, onnx_path: Path, out_dir: Path, *, options: Any) -> EngineFile:
            self.builds += 1
            (out_dir / "model.bin").write_text(f"for {self.gpu}")
            return EngineFile.of(target.name, out_dir / "model.bin", options)

        monkeypatch.setattr(gpu, "gpu_here", lambda: self.gpu)
        monkeypatch.setattr(kind, "available", lambda _: Availability(True, versions={"onnx": "1"}))
        monkeypatch.setattr(kind, "build", build)

    def engine(self) -> Artifact:
        """The engine of a network, as a build asks for it."""
        raw = read_recipe(
            ROOT / "examples" / "digits.yaml",
            ["teacher.train=null", "teacher.model=null", f"teacher.checkpoint={STUDENT}", f"targets=[{self._name}]"],
        )
        run = RecipeRun(parse_recipe(raw, "digits.yaml"), Store(self._folder), Reporter(quiet=True))
        self._monkeypatch.setattr(run.networks, "final", run.networks.teacher)
        self._monkeypatch.setattr(run.engines, "shipped", lambda _: run.engines.exported())
        return run.engines.engine(self._name)


@pytest.mark.parametrize("name", ["tensorrt", "torch_tensorrt"])
def test_an_engine_of_another_gpu_is_built_again(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    machine = Machine(name, tmp_path / "run", monkeypatch)
    first = machine.engine()
    assert (machine.engine().key, machine.builds) == (first.key, 1)
    assert first.record["config"]["tied_to"] == "NVIDIA L4 (compute capability 8.9)"
    machine.gpu = ORIN
    other = machine.engine()
    assert (other.key == first.key, machine.builds) == (False, 2)
    assert other.path("model.bin").read_text() == "for Orin (compute capability 8.7)"
    machine.gpu = ADA
    assert (machine.engine().key, machine.builds) == (first.key, 2)  # the first is still there


def test_torch_tensorrt_names_the_libraries_that_its_engines_are_tied_to(monkeypatch: pytest.MonkeyPatch):
    """TensorRT loads what its own version built; it is a package of its own, whose version is none of torch's."""
    from edgeproof.targets.torch_tensorrt import target

    monkeypatch.setattr(target, "version", {"tensorrt-cu13": "11.1.0"}.__getitem__)
    monkeypatch.setattr(target, "PackageNotFoundError", KeyError)
    assert target._tensorrt() == {"tensorrt-cu13": "11.1.0"}
