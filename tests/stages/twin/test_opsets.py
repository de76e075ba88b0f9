"""Operators whose definition changed: the model's declared opset decides. ONNX Runtime is the judge.

The ONNX project's node tests know the newest definitions only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgeproof.stages.twin import Twin, UnsupportedOperator
from onnx import TensorProto, helper

from tests.stages.twin.graphs import model, run_onnxruntime

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
ONES = RNG.uniform(0.5, 2, 3).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def node(op_type: str, *extra: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, ["x", *extra], list(outputs), **attributes)


# fmt: off
CASES: dict[str, tuple[int, onnx.NodeProto, dict[str, Any]]] = {
    "softmax flattens at its axis": (12, node("Softmax", axis=1), {}),
    "softmax flattens by default at 1": (11, node("Softmax"), {}),
    "softmax flattens at a negative axis": (12, node("Softmax", axis=-2), {}),
    "softmax along an axis": (13, node("Softmax", axis=1), {}),
    "softmax along the last axis by default": (13, node("Softmax"), {}),
    "log-softmax flattens": (9, node("LogSoftmax", axis=2), {}),
    "hardmax flattens": (11, node("Hardmax", axis=1), {}),
    "squeeze by attribute": (11, node("Squeeze", axes=[1]), {"shape": (2, 1, 4)}),
    "squeeze by input": (13, node("Squeeze", "a"), {"shape": (2, 1, 4), "a": ints(1)}),
    "squeeze all": (12, node("Squeeze"), {"shape": (2, 1, 4)}),
    "unsqueeze by attribute": (11, node("Unsqueeze", axes=[0, 3]), {}),
    "unsqueeze by input": (13, node("Unsqueeze", "a"), {"a": ints(0, -1)}),
    "slice by attribute": (9, node("Slice", starts=[1, -3], ends=[9, -1], axes=[1, 3]), {}),
    "slice by input": (10, node("Slice", "s", "e", "a", "t"),
                       {"s": ints(-1, 0), "e": ints(-99, 5), "a": ints(3, 2), "t": ints(-2, 3)}),
    "split by attribute": (11, node("Split", outputs=("y", "z"), axis=3, split=[2, 3]), {}),
    "split by input": (13, node("Split", "s", outputs=("y", "z"), axis=-1), {"s": ints(4, 1)}),
    "split into a number": (18, node("Split", outputs=("y", "z"), axis=3, num_outputs=2), {}),
    "pad by attribute": (10, node("Pad", pads=[0, 0, 1, 2, 0, 0, 3, 1], value=1.5), {}),
    "pad reflects by attribute": (10, node("Pad", pads=[0, 0, 1, 2, 0, 0, 3, 1], mode="reflect"), {}),
    "pad by input": (11, node("Pad", "p", "v"), {"p": ints(0, 0, 1, 2, 0, 0, -1, 1), "v": np.float32(2)}),
    "pad edge": (13, node("Pad", "p", mode="edge"), {"p": ints(0, 1, 1, 2, 0, 0, 3, 1)}),
    "pad along axes": (18, node("Pad", "p", "", "a"), {"p": ints(1, 2), "a": ints(-1)}),
    "pad wraps": (19, node("Pad", "p", mode="wrap"), {"p": ints(0, 0, 1, 2, 0, 0, 3, 1)}),
    "clip by attribute": (6 + 1, node("Clip", min=-0.5, max=0.5), {}),
    "clip by attribute, one side": (7, node("Clip", max=0.5), {}),
    "clip by input, one side": (12, node("Clip", "", "h"), {"h": np.float32(0.2)}),
    "dropout": (7, node("Dropout", ratio=0.9), {}),
    "dropout with its ratio as an input": (13, node("Dropout", "r"), {"r": np.float32(0.9)}),
    "batch normalization 7": (7, node("BatchNormalization", "g", "b", "m", "v", epsilon=1e-3),
                              {"g": ONES, "b": -ONES, "m": ONES / 3, "v": ONES}),
    "batch normalization 15": (15, node("BatchNormalization", "g", "b", "m", "v", epsilon=1e-3, momentum=0.5),
                               {"g": ONES, "b": -ONES, "m": ONES / 3, "v": ONES}),
    "mean by attribute": (13, node("ReduceMean", axes=[2, 3], keepdims=0), {}),
    "mean by input": (18, node("ReduceMean", "a"), {"a": ints(-1)}),
    "mean over no axes": (18, node("ReduceMean", "a", noop_with_empty_axes=1), {"a": ints()}),
    "mean over all axes": (18, node("ReduceMean", "a"), {"a": ints()}),
    "sum by attribute": (11, node("ReduceSum", axes=[1]), {}),
    "sum by input": (13, node("ReduceSum", "a", keepdims=0), {"a": ints(1, 2)}),
    "norm by attribute": (11, node("ReduceL2", axes=[1], keepdims=0), {}),
    "logsumexp by attribute": (13, node("ReduceLogSumExp", axes=[1, -1]), {}),
    "argmax takes the first": (11, node("ArgMax", axis=3), {"levels": 2}),
    "argmax takes the last": (13, node("ArgMax", axis=3, select_last_index=1), {"levels": 2}),
    "top k by attribute": (9, node("TopK", outputs=("y", "z"), k=2), {}),
    "top k by input": (11, node("TopK", "k", outputs=("y", "z"), axis=1, largest=0), {"k": ints(2)}),
    "upsample by attribute": (7, node("Upsample", scales=[1.0, 1.0, 2.0, 3.0], mode="nearest"), {}),
    "upsample by input": (9, node("Upsample", "s", mode="linear"), {"s": np.float32([1, 1, 2, 3])}),
    "resize 10 linear": (10, node("Resize", "s", mode="linear"), {"s": np.float32([1, 1, 1.7, 0.6])}),
    "resize 10 nearest": (10, node("Resize", "s", mode="nearest"), {"s": np.float32([1, 1, 2.3, 0.6])}),
    "resize 11 half pixel": (11, node("Resize", "e", "e", "z", mode="linear"),
                             {"e": np.float32([]), "z": ints(2, 3, 7, 3)}),
    "resize 13 cubic": (13, node("Resize", "", "s", mode="cubic", cubic_coeff_a=-0.5),
                        {"s": np.float32([1, 1, 1.5, 2])}),
    "resize 18 along axes": (18, node("Resize", "", "s", axes=[2, 3], mode="nearest", nearest_mode="ceil"),
                             {"s": np.float32([1.5, 2])}),
    "resize 13 pytorch": (13, node("Resize", "", "", "z", mode="linear",
                                   coordinate_transformation_mode="pytorch_half_pixel"), {"z": ints(2, 3, 1, 9)}),
    "average pool without its padding": (11, node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                                                  strides=[2, 2]), {}),
    "average pool with its padding": (11, node("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 0, 1], strides=[2, 2],
                                               count_include_pad=1), {}),
    "average pool, ceiling": (19, node("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), {}),
    "max pool, ceiling": (12, node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1), {}),
    "max pool of the same size": (8, node("MaxPool", kernel_shape=[2, 2], auto_pad="SAME_UPPER"), {}),
    "max pool, lower": (12, node("MaxPool", kernel_shape=[2, 4], strides=[1, 2], auto_pad="SAME_LOWER"), {}),
    "gemm without a bias": (11, helper.make_node("Gemm", ["x", "w"], ["y"], transA=1, alpha=0.5),
                            {"shape": (4, 3), "w": RNG.normal(size=(4, 2)).astype(np.float32)}),
    "gemm with a scaled bias": (9, helper.make_node("Gemm", ["x", "w", "c"], ["y"], transB=1, beta=0.25),
                                {"shape": (4, 3), "w": RNG.normal(size=(2, 3)).astype(np.float32),
                                 "c": np.float32([1, 2])}),
    "prelu": (7, node("PRelu", "s"), {"s": ONES.reshape(3, 1, 1)}),
    "local response": (13, node("LRN", size=3, alpha=0.5, beta=0.6, bias=1.5), {}),
    "transposed conv, same": (11, node("ConvTranspose", "w", strides=[2, 2], auto_pad="SAME_UPPER"),
                              {"w": RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)}),
    "transposed conv, grouped": (11, node("ConvTranspose", "w", group=3, strides=[2, 1], pads=[1, 0, 0, 1],
                                          output_padding=[1, 0], dilations=[1, 2]),
                                 {"w": RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)}),
    "conv, dilated and uneven": (11, node("Conv", "w", dilations=[2, 1], pads=[2, 0, 1, 1], strides=[1, 2]),
                                 {"w": RNG.normal(size=(4, 3, 2, 3)).astype(np.float32)}),
    "conv, same, lower": (11, node("Conv", "w", auto_pad="SAME_LOWER", strides=[2, 2]),
                          {"w": RNG.normal(size=(4, 3, 3, 2)).astype(np.float32)}),
    "group normalization per channel": (21, node("GroupNormalization", "g", "b", num_groups=3),
                                        {"g": ONES, "b": -ONES}),
    "flatten from the end": (11, node("Flatten", axis=-1), {}),
    "reshape copies and works out": (13, node("Reshape", "s"), {"s": ints(0, -1, 5)}),
    "depth to space, columns first": (11, node("DepthToSpace", blocksize=2, mode="CRD"), {"shape": (2, 8, 3, 3)}),
}
# fmt: on


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_agrees(name: str) -> None:
    opset, proto, values = CASES[name]
    values = dict(values)
    x = RNG.normal(size=values.pop("shape", X.shape)).astype(np.float32)
    if "levels" in values:  # few values, so that there are ties
        x = np.random.default_rng(1).integers(0, values.pop("levels"), x.shape).astype(np.float32)
    graph = model([proto], inputs={"x": x.shape}, outputs=list(proto.output), initializers=values, opset=opset)
    if proto.op_type in ("ArgMax", "TopK"):
        graph.graph.output[-1].type.tensor_type.elem_type = TensorProto.INT64
    graph.ir_version = 8
    expected = run_onnxruntime(graph, x)
    found = Twin(graph)(torch.from_numpy(x))
    for result, value in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        assert tuple(result.shape) == value.shape
        np.testing.assert_allclose(result.numpy(), value, rtol=1e-4, atol=1e-5)


def test_group_normalization_18_scales_per_group() -> None:
    """ONNX Runtime has no kernel for it; torch's group_norm with the scale spread over the channels has."""
    x = torch.from_numpy(RNG.normal(size=(2, 6, 4)).astype(np.float32))
    proto = model(
        [node("GroupNormalization", "g", "b", num_groups=3)],
        inputs={"x": x.shape},
        initializers={"g": ONES, "b": -ONES},
        opset=18,
    )
    scale = torch.from_numpy(ONES).repeat_interleave(2)
    torch.testing.assert_close(Twin(proto)(x), torch.nn.functional.group_norm(x, 3, scale, -scale))


@pytest.mark.parametrize(
    ("opset", "proto"),
    [
        (18, node("ReduceMean", axes=[1])),  # an input since 18
        (13, node("Squeeze", axes=[1])),  # an input since 13
        (13, node("Unsqueeze", axes=[1])),
        (11, node("Clip", min=0.0)),  # an input since 11
        (11, node("Pad", pads=[0] * 8)),
        (13, node("Split", split=[1, 2], axis=1)),
    ],
)
def test_an_attribute_that_the_opset_no_longer_has_is_refused(opset: int, proto: onnx.NodeProto) -> None:
    with pytest.raises(UnsupportedOperator, match="attribute"):
        Twin(model([proto], inputs={"x": X.shape}, opset=opset))
