"""The latency ratio against times that were planted."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.stages.latency import bench as module
from edgeproof.stages.latency.bench import BENCH, BenchConfig, bench
from edgeproof.targets.base import EngineFile
from onnx import TensorProto, helper


@pytest.fixture
def engine(tmp_path: Path) -> EngineFile:
    """The smallest ONNX file that loads."""
    path = tmp_path / "model.onnx"
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["images"], ["logits"])],
        "flat",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, 2, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return EngineFile.of("onnxruntime", path)


def test_the_ratio_is_within_an_opening_and_its_interval_between_openings(
    engine: EngineFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opening = count()

    def planted(runners, images, config):
        # Each opening is slower than the one before it, by far; the engine takes 1.9 to 2.1 times as long in each.
        place = next(opening)
        times = np.full(config.repeats, 1.0 + 5 * place)
        return {"engine": times * (1.9 + 0.2 * (place % 2)), "float": times}

    monkeypatch.setattr(module, "time_in_turn", planted)
    images = np.zeros((3, 1, 2, 2), np.float32)
    bench(engine, images, BenchConfig(batches=(4,), repeats=40), tmp_path, float_engine=engine)
    found = json.loads((tmp_path / BENCH).read_text())
    ratio = found["latency_ratio"]["4"]
    assert 1.9 <= ratio["low"] <= ratio["ratio"] <= ratio["high"] <= 2.1
    assert ratio["high"] - ratio["low"] > 0.1, "openings that differ make it wide, however alike the calls of each are"
    p50 = {each["subject"]: each["p50"] for each in found["latency_ms"]}
    assert found["times_slower_than_engine"]["float"]["4"] == pytest.approx(p50["float"] / p50["engine"])


def test_without_a_float_engine_there_is_no_ratio(engine: EngineFile, tmp_path: Path):
    images = np.zeros((3, 1, 2, 2), np.float32)
    bench(engine, images, BenchConfig(batches=(1, 2), repeats=20, warmup=1), tmp_path)
    found = json.loads((tmp_path / BENCH).read_text())
    assert [each["batch"] for each in found["latency_ms"]] == [1, 2]
    assert (found["latency_ratio"], found["times_slower_than_engine"]) == ({}, {}), "nothing to compare with"
    assert found["size_bytes"] == {"engine": engine.path.stat().st_size}
