"""Whether a graph sees 8-bit images alone, by what it does and not by what its file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgeproof.stages.adapt import AdapterConfig, adapt, reads_eight_bits
from onnx import TensorProto, helper, numpy_helper

from tests.stages.adapt.foreign import CHANNELS, CLASSES, HEIGHT, SHAPE, WIDTH, answers, classifier, some_images


@pytest.mark.parametrize(
    ("dtype", "scale", "expected"),
    [
        (TensorProto.UINT8, None, True),
        (TensorProto.UINT8, 127, False),
        (TensorProto.FLOAT, 255, False),
        (TensorProto.FLOAT, None, False),
    ],
)
def test_what_is_rounded_to_255ths_is_seen_so(tmp_path: Path, dtype: int, scale: float | None, expected: bool):
    path = classifier(tmp_path / "model.onnx", ("N", HEIGHT, WIDTH, CHANNELS), dtype=dtype)
    config = AdapterConfig(scale=scale, channels="BGR")
    adapted = adapt(path, config, SHAPE, CLASSES, some_images())
    assert adapted is not None
    assert reads_eight_bits(adapted.model) is expected
    # By its answers: a shift of less than half a step changes none of them.
    images = some_images()
    near = np.clip(images + np.float32(0.4 / 255), 0, 1)
    same = np.array_equal(*(answers(adapted.model, each)[0] for each in (images, near)))
    assert same is expected


def test_a_second_reader_of_the_images_may_see_more(tmp_path: Path):
    path = classifier(tmp_path / "model.onnx", ("N", *SHAPE), dtype=TensorProto.UINT8)
    adapted = adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())
    assert adapted is not None
    graph = adapted.model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"))
    pixels = next(value.name for value in graph.input)
    graph.node.append(helper.make_node("ReduceMax", [pixels, "axes"], ["brightest"]))
    assert not reads_eight_bits(adapted.model)
