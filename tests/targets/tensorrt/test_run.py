"""Plans that run: the half of TensorRT that needs an NVIDIA GPU."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import EdgeproofError, StageError
from edgeproof.stages.data import Dataset
from edgeproof.stages.quantize import CalibrationConfig, calibration_split, quantize_onnx
from edgeproof.targets.base import Engine, EngineFile, Images, Logits, Target, targets
from edgeproof.targets.gpu import Gpu
from edgeproof.targets.process.own_process import OwnProcess, open_engine
from edgeproof.targets.tensorrt.plan.inspector import quantized_operators
from edgeproof.targets.tensorrt.plan.record import read_sheet
from onnx.reference import ReferenceEvaluator

pytestmark = [pytest.mark.gpu, pytest.mark.tensorrt]


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    found = targets[request.param]
    state = found.available()
    if not state.available:
        pytest.skip(state.reason)
    monkeypatch.setenv("EDGEPROOF_PLAN_KEY", str(tmp_path / "plan.key"))
    return found


@pytest.fixture(scope="module")
def symmetric_onnx(float_onnx: Path, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("symmetric") / "model.onnx"
    images = calibration_split(digits.train, CalibrationConfig()).images
    quantize_onnx(float_onnx, path, targets["tensorrt"].scheme, images)
    return path


@pytest.fixture
def built(target: Target, symmetric_onnx: Path, tmp_path: Path) -> EngineFile:
    return target.build(symmetric_onnx, tmp_path / "engine")


@pytest.fixture
def engine(target: Target, built: EngineFile) -> Iterator[Engine]:
    with target.load(built) as loaded:
        yield loaded


def reference(model: Path, images: Images) -> Logits:
    graph = onnx.load(model)
    return np.asarray(ReferenceEvaluator(graph).run(None, {graph.graph.input[0].name: images})[0])  # type: ignore[index]


def test_floats_are_computed_in_float32(target: Target, float_onnx: Path, digits: Dataset, tmp_path: Path):
    """TF32 would keep ten bits of mantissa."""
    images = digits.test.images[:16]
    with target.load(target.build(float_onnx, tmp_path / "engine")) as engine:
        np.testing.assert_allclose(engine(images), reference(float_onnx, images), atol=1e-4)


def test_quantized_answers_are_those_of_the_graph(engine: Engine, symmetric_onnx: Path, digits: Dataset):
    images = digits.test.images[:200]
    expected = reference(symmetric_onnx, images)
    found = engine(images)
    assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.98


@pytest.mark.parametrize("count", [0, 1, 7, 33, 70])
def test_any_number_of_images(engine: Engine, digits: Dataset, count: int):
    logits = engine(digits.test.images[:count])
    assert (logits.shape, logits.dtype) == ((count, 10), np.float32)
    np.testing.assert_array_equal(logits, engine(digits.test.images[:70])[:count])


def test_small_batches_are_padded(target: Target, symmetric_onnx: Path, digits: Dataset, tmp_path: Path):
    options = target.options(min_batch=4, opt_batch=4, max_batch=8)  # type: ignore[call-arg]
    images = digits.test.images[:19]
    with target.load(target.build(symmetric_onnx, tmp_path / "engine", options=options)) as engine:
        together = engine(images)
        assert np.array_equal(np.concatenate([engine(images[i : i + 1]) for i in range(19)]), together)


def test_a_fixed_batch(target: Target, float_onnx: Path, digits: Dataset, tmp_path: Path):
    model = onnx.load(float_onnx)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    path = tmp_path / "fixed.onnx"
    onnx.save(model, path)
    images = digits.test.images[:11]
    with target.load(target.build(path, tmp_path / "engine")) as engine:
        assert engine.signature.batch == 4
        np.testing.assert_allclose(engine(images), reference(float_onnx, images), atol=1e-4)


def test_every_call_returns_its_own_array(engine: Engine, digits: Dataset):
    first = engine(digits.test.images[:3])
    kept = first.copy()
    first[:] = -np.inf
    assert np.array_equal(engine(digits.test.images[:3]), kept)


def test_threads_take_turns(engine: Engine, digits: Dataset):
    images = digits.test.images[:40]
    expected = engine(images)
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(20):
            if not np.array_equal(engine(images[number : number + 20]), expected[number : number + 20]):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_engines_and_a_closed_one(target: Target, built: EngineFile, engine: Engine, digits: Dataset):
    images = digits.test.images[:5]
    expected = engine(images)
    other = target.load(built)
    assert np.array_equal(other(images), expected)
    other.close()
    other.close()
    with pytest.raises(EdgeproofError, match="closed"):
        other(images)
    assert np.array_equal(engine(images), expected)
    with target.load(built) as again:
        assert np.array_equal(again(images), expected)


def test_in_a_process_of_its_own(built: EngineFile, engine: Engine, digits: Dataset):
    apart = OwnProcess(partial(open_engine, built))
    assert np.array_equal(apart(digits.test.images[:5]), engine(digits.test.images[:5]))
    apart.close()


def test_the_inspector_tells_which_operators_run_in_int8(built: EngineFile, symmetric_onnx: Path):
    told = json.loads((built.path.parent / "layers.json").read_text())
    assert "problem" not in told
    assert set(told["precision"]) == set(quantized_operators(symmetric_onnx))
    assert "float" not in told["precision"].values()


def test_refittable_and_stripped_plans(target: Target, float_onnx: Path, digits: Dataset, tmp_path: Path):
    images = digits.test.images[:16]
    expected = reference(float_onnx, images)
    for chosen in ({"refittable": True}, {"strip_weights": True}):
        built = target.build(float_onnx, tmp_path / next(iter(chosen)), options=target.options(**chosen))
        with target.load(built) as engine:
            np.testing.assert_allclose(engine(images), expected, atol=1e-4)
    weights = tmp_path / "strip_weights" / "model.onnx"
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(StageError, match=r"not the ONNX file that model\.plan was built from"):
        target.load(built)


def test_a_plan_for_another_gpu(target: Target, built: EngineFile):
    sheet = read_sheet(built.path, built.sha256)
    other = {"gpu": Gpu("Another", "5.2")} if target.name == "tensorrt" else {"options": {"compute_capability": "7.5"}}
    replace(sheet, **other).write(built.path)
    with pytest.raises(StageError, match=r"built .*, here is .*build it again from the ONNX file"):
        target.load(replace(built, options={}))


def test_a_timing_cache_of_an_earlier_build(symmetric_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = targets["tensorrt"]
    if not target.available().available:
        pytest.skip(target.available().reason)
    monkeypatch.setenv("EDGEPROOF_PLAN_KEY", str(tmp_path / "plan.key"))
    first = target.build(symmetric_onnx, tmp_path / "first")
    cache = first.path.parent / "timing.cache"
    digest = hashlib.sha256(cache.read_bytes()).hexdigest()
    assert read_sheet(first.path, first.sha256).timing_cache_sha256 == digest
    options = target.options(timing_cache=str(cache), timing_cache_sha256=digest)  # type: ignore[call-arg]
    assert target.build(symmetric_onnx, tmp_path / "second", options=options).path.is_file()
