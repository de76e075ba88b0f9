"""Whether a graph sees 8-bit images alone: what its file says counts where it is what the graph does."""

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
    del adapted.model.metadata_props[:]
    assert not reads_eight_bits(adapted.model), "a float file that rounds by itself may be attacked within a step"
    # By its answers: a shift of less than half a step changes none of them.
    images = some_images()
    near = np.clip(images + np.float32(0.4 / 255), 0, 1)
    before, after = (answers(adapted.model, each)[0] for each in (images, near))
    assert np.array_equal(before, after) is expected


@pytest.mark.parametrize("where", ["beside", "inside", "output", "domain"])
def test_what_may_see_more_than_bytes(tmp_path: Path, where: str):
    """A second reader, one within a subgraph, the pixels themselves as an answer, somebody else's Floor."""
    path = classifier(tmp_path / "model.onnx", ("N", *SHAPE), dtype=TensorProto.UINT8)
    adapted = adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())
    assert adapted is not None
    assert reads_eight_bits(adapted.model)
    graph = adapted.model.graph
    pixels = graph.input[0].name
    if where == "beside":
        graph.node.append(helper.make_node("Abs", [pixels], ["bright"]))
    elif where == "inside":
        answer = helper.make_tensor_value_info("bright", TensorProto.FLOAT, None)
        body = helper.make_graph([helper.make_node("Abs", [pixels], ["bright"])], "body", [], [answer])
        graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
        graph.node.append(helper.make_node("If", ["always"], ["chosen"], then_branch=body, else_branch=body))
    elif where == "output":
        graph.output.append(graph.input[0])
    else:
        next(node for node in graph.node if node.op_type == "Floor").domain = "vendor"
    assert not reads_eight_bits(adapted.model)
