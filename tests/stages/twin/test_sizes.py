"""Shapes that a graph computes from its images' shape, against what ONNX Runtime computes of them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from edgeproof.stages.torch_program import TorchProgram
from edgeproof.stages.twin.sizes import BatchSizes, known_sizes
from onnx import helper

from tests.stages.twin.graphs import model, run_onnxruntime

SHAPE = [3, 4, 5]
# As TorchScript writes `x.reshape(n, -1, 5)`, and the expansion of a token.
CHAIN = [
    helper.make_node("Shape", ["x"], ["shape"]),
    helper.make_node("Gather", ["shape", "zero"], ["batch"]),
    helper.make_node("Unsqueeze", ["batch", "first"], ["batches"]),
    helper.make_node("Concat", ["batches", "minus", "five"], ["target"], axis=0),
    helper.make_node("Mul", ["batches", "five"], ["long"]),
    helper.make_node("Mul", ["batches", "batches"], ["square"]),
    helper.make_node("Slice", ["shape", "first", "five", "first", "five"], ["every fifth"]),
    helper.make_node("Slice", ["shape", "minus", "five"], ["last"]),
    helper.make_node("Cast", ["last"], ["width"], to=onnx.TensorProto.FLOAT),
    helper.make_node("Sqrt", ["width"], ["root"]),
    helper.make_node("Concat", ["batches", "one", "five"], ["wanted"], axis=0),
    helper.make_node("Expand", ["token", "wanted"], ["tokens"]),
    helper.make_node("Reshape", ["x", "target"], ["rows"]),
    helper.make_node("Concat", ["tokens", "rows"], ["all"], axis=1),
    helper.make_node("Mul", ["all", "root"], ["scaled"]),
    helper.make_node("ReduceMean", ["scaled"], ["y"], axes=[1], keepdims=0),
]
STORED = {
    "zero": np.int64(0),
    "first": np.array([0]),
    "one": np.array([1]),
    "minus": np.array([-1]),
    "five": np.array([5]),
    "token": np.arange(5, dtype=np.float32).reshape(1, 1, 5),
}


def graph(batch: str | int) -> onnx.ModelProto:
    return model(CHAIN, inputs={"x": [batch, *SHAPE]}, initializers=STORED, opset=17)


def asked(proto: onnx.ModelProto, names: list[str], batch: int) -> list[np.ndarray]:
    """What ONNX Runtime computes of values inside."""
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return run_onnxruntime(whole, np.zeros((batch, *SHAPE), np.float32))


def test_they_are_onnx_runtimes_at_batches_never_seen():
    proto = graph("n")
    found = known_sizes(proto.graph, {"": 17})
    assert set(found) == {node.output[0] for node in CHAIN[:11]} - {"square"}
    for batch in (1, 7, 32):
        for size, expected in zip(found.values(), asked(proto, list(found), batch), strict=True):
            if isinstance(size.value, BatchSizes):
                assert size.value.of(torch.zeros(batch, *SHAPE)) == expected.reshape(-1).tolist()
            else:
                np.testing.assert_array_equal(size.value.numpy(), expected)


def test_a_fixed_batch_leaves_nothing_open():
    proto = graph(4)
    found = known_sizes(proto.graph, {"": 17})
    assert {"square", "tokens", "target"} <= set(found)
    for size, expected in zip(found.values(), asked(proto, list(found), 4), strict=True):
        assert isinstance(size.value, torch.Tensor)
        np.testing.assert_array_equal(size.value.numpy(), expected)


@pytest.mark.parametrize("shape", [["n", 3, "h", 5], [], ["n", 3, 0, 5]])
def test_of_images_of_unknown_size_nothing_is_known(shape: list):
    proto = model(CHAIN, inputs={"x": shape}, initializers=STORED, opset=17)
    assert known_sizes(proto.graph, {"": 17}) == {}


@pytest.mark.parametrize("batch", ["n", 4])
def test_torch_traces_the_graph(batch: str | int):
    images = torch.rand(4, *SHAPE)
    dynamic = ({0: torch.export.Dim("n", min=1, max=4)},) if batch == "n" else None
    proto = graph(batch)
    program = torch.export.export(TorchProgram(proto), (images,), dynamic_shapes=dynamic).module()
    for count in (1, 3, 4) if batch == "n" else (4,):
        (expected,) = run_onnxruntime(proto, images[:count].numpy())
        np.testing.assert_allclose(program(images[:count]).numpy(), expected, rtol=1e-5)
