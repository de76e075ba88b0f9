"""Which built plans are loaded: as far as that goes without a GPU, with TensorRT for RTX."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from edgeproof.core.errors import BackendMissing, StageError
from edgeproof.targets.base import EngineFile, Target, targets
from edgeproof.targets.gpu import gpu_here
from edgeproof.targets.tensorrt.engine import open_plan
from edgeproof.targets.tensorrt.library import rtx_library
from edgeproof.targets.tensorrt.plan.record import Sheet, read_sheet, sheet_of

from tests.targets.tensorrt.quantized_conv import quantized_conv, saved


@pytest.fixture(scope="module")
def rtx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    target = targets["tensorrt_rtx"]
    if not target.available().builds:
        pytest.skip(target.available().reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPROOF_PLAN_KEY", str(tmp_path_factory.mktemp("key") / "plan.key"))
        yield target


@pytest.fixture(scope="module")
def built(rtx: Target, tmp_path_factory: pytest.TempPathFactory) -> EngineFile:
    folder = tmp_path_factory.mktemp("built")
    return rtx.build(saved(quantized_conv(), folder / "model.onnx"), folder / "engine")


def sheet_for(engine: EngineFile) -> Sheet:
    return read_sheet(engine.path, engine.sha256)


@pytest.mark.skipif(gpu_here() is not None, reason="there is a GPU")
def test_a_good_plan_lacks_but_the_gpu(built: EngineFile, rtx: Target):
    with pytest.raises(BackendMissing, match="torch finds no NVIDIA GPU here"):
        rtx.load(built)
    content = built.path.read_bytes()
    with pytest.raises(StageError, match=r"TensorRT for RTX refuses the plan: .*CUDA driver"):
        open_plan(rtx_library(), built.path, content, threads=1, host_code=False, weights=None)


def copied(engine: EngineFile, folder: Path) -> EngineFile:
    for file in (engine.path, sheet_of(engine.path)):
        (folder / file.name).write_bytes(file.read_bytes())
    return replace(engine, path=folder / engine.path.name)


@pytest.mark.parametrize("change", [lambda plan: plan + b"\0", lambda plan: plan[: len(plan) // 2], lambda plan: b""])
def test_an_altered_or_truncated_plan(change, built: EngineFile, rtx: Target, tmp_path: Path):
    engine = copied(built, tmp_path)
    engine.path.write_bytes(change(engine.path.read_bytes()))
    with pytest.raises(StageError, match="altered after it was built"):
        rtx.load(engine)
    # Described as it is now, as `verify` and `replay` do: the sheet knows better.
    with pytest.raises(StageError, match=r"is of a plan with .* build it again from the ONNX file"):
        rtx.load(EngineFile.of(rtx.name, engine.path))


def test_a_plan_without_its_sheet(built: EngineFile, rtx: Target, tmp_path: Path):
    engine = copied(built, tmp_path)
    sheet_of(engine.path).unlink()
    with pytest.raises(StageError, match="build it again from the ONNX file"):
        rtx.load(engine)


def test_a_forged_sheet(built: EngineFile, rtx: Target, tmp_path: Path):
    """Somebody else's plan with a sheet that names its digest: only the seal is missing."""
    engine = copied(built, tmp_path)
    engine.path.write_bytes(b"somebody else's code")
    sheet = json.loads(sheet_of(engine.path).read_text())
    sheet["plan_sha256"] = hashlib.sha256(engine.path.read_bytes()).hexdigest()
    sheet_of(engine.path).write_text(json.dumps(sheet))
    with pytest.raises(StageError, match="not sealed with the key"):
        rtx.load(EngineFile.of(rtx.name, engine.path))


def test_a_plan_of_another_version_or_target(built: EngineFile, rtx: Target, tmp_path: Path):
    engine = copied(built, tmp_path)
    replace(sheet_for(built), version="1.5.0.1").write(engine.path)
    with pytest.raises(StageError, match=rf"built by .* 1\.5\.0\.1, here is {rtx_library().version}; build it again"):
        rtx.load(engine)
    replace(sheet_for(built), target="tensorrt").write(engine.path)
    with pytest.raises(StageError, match="built by target 'tensorrt', this is 'tensorrt_rtx'"):
        rtx.load(engine)
    replace(sheet_for(built), options={"max_batch": 0}).write(engine.path)
    with pytest.raises(StageError, match="no options of target 'tensorrt_rtx'"):
        rtx.load(engine)
    with pytest.raises(StageError, match=r"built with options \{\}, \{'max_batch': 2\} are asked for"):
        rtx.load(replace(built, options={"max_batch": 2}))
