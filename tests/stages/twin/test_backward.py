"""The gradient rule, element by element, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.twin import BACKWARD_MODES, BackwardMode, Twin
from onnx import helper

from tests.stages.twin.graphs import model

# With scale 0.5: uint8 with zero point 0 spans [0, 127.5], with zero point 10 [-5, 122.5]; int8 with zero point 0
# spans [-64, 63.5], with zero point -128 [0, 127.5].
X = [-1000.0, -64.5, -5.5, -0.3, -0.0, 0.0, 0.2, 63.5, 64.0, 122.5, 123.0, 127.5, 128.0, 1000.0]
ONE = [1.0] * len(X)


def gradient(proto: onnx.ModelProto, x: object, mode: str = "relu") -> list:
    twin = Twin(proto, backward=mode)  # type: ignore[arg-type]
    leaf = torch.tensor(x, requires_grad=True)
    (grad,) = torch.autograd.grad(twin(leaf).sum(), leaf)  # type: ignore[union-attr]
    return grad.tolist()


def qdq(
    zero_point: object,
    *,
    scale: object = 0.5,
    between: str | None = None,
    dequantizer_scale: float | None = None,
    **attributes: object,
) -> onnx.ModelProto:
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], **attributes)]
    if between:
        nodes.append(helper.make_node(between, ["q"], ["r"]))
    nodes.append(
        helper.make_node("DequantizeLinear", ["r" if between else "q", "scale_2", "zero"], ["y"], **attributes)
    )
    values = {
        "scale": np.float32(scale) if np.isscalar(scale) else np.asarray(scale, np.float32),
        "scale_2": np.asarray(scale if dequantizer_scale is None else dequantizer_scale, np.float32),
        "zero": zero_point,
    }
    return model(nodes, inputs={"x": ["n"] if np.isscalar(scale) else ["n", 2]}, initializers=values)


# fmt: off
RULE = [
    # zero point = qmin: the lower clip is a ReLU
    (np.uint8(0), "relu",         [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    (np.uint8(0), "relu-ceiling", [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
    (np.uint8(0), "clipped",      [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0]),
    (np.uint8(0), "identity", ONE),
    (np.uint8(0), "smooth",       [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    (np.int8(-128), "relu",         [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    (np.int8(-128), "relu-ceiling", [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
    # any other zero point: the lower clip is only a clip
    (np.uint8(10), "relu", ONE),
    (np.uint8(10), "relu-ceiling", [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]),
    (np.uint8(10), "clipped",      [0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]),
    (np.uint8(10), "identity", ONE),
    (np.int8(0), "relu", ONE),
    (np.int8(0), "relu-ceiling", [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]),
    (np.int8(0), "clipped",      [0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]),
    (np.int8(0), "identity", ONE),
]
# fmt: on


@pytest.mark.parametrize("between", [None, "Identity"])
@pytest.mark.parametrize(("zero_point", "mode", "expected"), RULE)
def test_quantize_dequantize(zero_point: object, mode: str, expected: list, between: str | None) -> None:
    assert gradient(qdq(zero_point, between=between), X, mode) == expected


def test_one_step_beyond_a_clip_is_beyond_it() -> None:
    below, above = float(np.nextafter(np.float32(0), np.float32(-1))), float(np.nextafter(np.float32(127.5), 200))
    assert gradient(qdq(np.uint8(0)), [below, 0.0, 127.5, above], "relu-ceiling") == [0, 1, 1, 0]


def test_the_zero_point_left_out_is_that_of_uint8() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["y"]),
    ]
    proto = model(nodes, inputs={"x": ["n"]}, initializers={"scale": np.float32(0.5)})
    assert gradient(proto, [-0.3, 0.0, 200.0]) == [0, 1, 1]


def test_per_axis_every_channel_has_its_own_rule() -> None:
    proto = qdq(np.array([0, 10], np.uint8), scale=[0.5, 0.25], axis=1)
    x = [[-1.0, -1.0], [0.0, 0.0], [127.5, 61.25], [127.75, 61.5]]
    assert gradient(proto, x, "relu") == [[0, 1], [1, 1], [1, 1], [1, 1]]
    assert gradient(proto, x, "relu-ceiling") == [[0, 1], [1, 1], [1, 1], [0, 0]]
    assert gradient(proto, [[0.1, -2.4], [0.0, -2.5]], "clipped") == [[1, 1], [0, 0]]


def test_dequantizing_by_another_scale_rescales_the_gradient() -> None:
    assert gradient(qdq(np.uint8(0), dequantizer_scale=2.0), [-1.0, 0.0, 3.0]) == [0, 4, 4]


def test_the_mode_may_change_between_calls() -> None:
    twin = Twin(qdq(np.uint8(0)))
    assert twin.backward == "relu"
    found = []
    for mode in BACKWARD_MODES:
        twin.backward = mode
        leaf = torch.tensor([-1.0, 500.0], requires_grad=True)
        found.append(torch.autograd.grad(twin(leaf).sum(), leaf)[0].tolist())  # type: ignore[union-attr]
    assert found == [[0, 1], [0, 0], [1, 1], [0, 0], [0, 1]]
    with pytest.raises(UsageError, match="halved"):
        twin.backward = "halved"  # type: ignore[assignment]


@pytest.mark.parametrize("mode", BACKWARD_MODES)
@pytest.mark.parametrize("op_type", ["Round", "Floor", "Ceil"])
def test_steps_have_the_identity_gradient(op_type: str, mode: str) -> None:
    proto = model([helper.make_node(op_type, ["x"], ["y"])], inputs={"x": ["n"]})
    assert gradient(proto, [-1.5, -0.2, 0.0, 0.5, 7.0], mode) == [1] * 5


@pytest.mark.parametrize("target", [onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT64])
def test_a_cast_to_integers_and_back_truncates_with_the_identity_gradient(target: int) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=target),
        helper.make_node("Cast", ["i"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    proto = model(nodes, inputs={"x": ["n"]})
    assert Twin(proto)(torch.tensor([0.9, 1.5, 2.0])).tolist() == [0, 1, 2]  # type: ignore[union-attr]
    assert gradient(proto, [0.0, 0.9, 1.5]) == [1] * 3


def test_integer_arithmetic_on_the_way_keeps_both_value_and_gradient() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=onnx.TensorProto.INT32),
        helper.make_node("Div", ["i", "two"], ["h"]),
        helper.make_node("Cast", ["h"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    proto = model(nodes, inputs={"x": ["n"]}, initializers={"two": np.int32(2)})
    assert Twin(proto)(torch.tensor([3.7, -3.7, 8.0])).tolist() == [1, -1, 4]  # type: ignore[union-attr]
    assert gradient(proto, [3.7, -3.7, 8.0]) == [0.5] * 3


@pytest.mark.parametrize("order", [["x", "zero"], ["zero", "x"]])
def test_a_relu_written_as_max_lets_black_pixels_through(order: list[str]) -> None:
    proto = model([helper.make_node("Max", order, ["y"])], inputs={"x": ["n"]}, initializers={"zero": np.float32(0)})
    assert gradient(proto, [-1.0, 0.0, 1.0]) == [0, 1, 1]


def test_min_against_a_constant_keeps_the_tie() -> None:
    proto = model(
        [helper.make_node("Min", ["x", "six"], ["y"])], inputs={"x": ["n"]}, initializers={"six": np.float32(6)}
    )
    assert gradient(proto, [5.0, 6.0, 7.0]) == [1, 1, 0]


@pytest.mark.parametrize("opset", [6, 11, 18])
def test_clip_lets_its_bounds_through(opset: int) -> None:
    if opset < 11:
        proto = model([helper.make_node("Clip", ["x"], ["y"], min=0.0, max=1.0)], inputs={"x": ["n"]}, opset=opset)
    else:
        bounds = {"low": np.float32(0), "high": np.float32(1)}
        node = helper.make_node("Clip", ["x", "low", "high"], ["y"])
        proto = model([node], inputs={"x": ["n"]}, initializers=bounds, opset=opset)
    assert gradient(proto, [-0.1, 0.0, 0.5, 1.0, 1.1]) == [0, 1, 1, 1, 0]


def test_clip_with_computed_bounds_lets_them_through() -> None:
    nodes = [
        helper.make_node("ReduceMin", ["b"], ["low"], keepdims=0),
        helper.make_node("Clip", ["x", "low"], ["y"]),
    ]
    twin = Twin(model(nodes, inputs={"x": ["n"], "b": ["m"]}))
    leaf = torch.tensor([-0.1, 0.0, 0.5], requires_grad=True)
    (grad,) = torch.autograd.grad(twin(leaf, torch.tensor([0.0, 2.0])).sum(), leaf)  # type: ignore[union-attr]
    assert grad.tolist() == [0, 1, 1]


def test_relu_keeps_torchs_own_gradient() -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], inputs={"x": ["n"]})
    leaf = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    assert gradient(proto, [-1.0, 0.0, 1.0]) == torch.autograd.grad(torch.relu(leaf).sum(), leaf)[0].tolist()


def test_a_pool_between_quantizer_and_dequantizer_passes_the_gradient_to_its_maximum() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("MaxPool", ["q"], ["p"], kernel_shape=[2]),
        helper.make_node("DequantizeLinear", ["p", "scale", "zero"], ["y"]),
    ]
    proto = model(
        nodes, inputs={"x": ["n", 1, 3]}, initializers={"scale": np.float32(0.5), "zero": np.uint8(0)}, opset=13
    )
    assert gradient(proto, [[[-3.0, -2.0, 5.0]]]) == [[[0, 0, 1]]]


def test_the_gradient_neither_vanishes_nor_overflows_on_its_way() -> None:
    """A saturated softmax leaves gradients near the smallest float32; the scale must not push them under it."""
    proto = qdq(np.uint8(0), scale=1e-6)
    twin = Twin(proto)
    leaf = torch.tensor([1e-4], requires_grad=True)
    (grad,) = torch.autograd.grad(twin(leaf), leaf, torch.tensor([1e-36]))  # type: ignore[arg-type]
    assert grad.item() == np.float32(1e-36)


def test_the_gradient_is_that_of_the_composed_float_graph() -> None:
    """Quantizing finely must leave the gradient of x ↦ relu(x)² at the quantized point."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("Mul", ["d", "d"], ["y"]),
    ]
    proto = model(nodes, inputs={"x": ["n"]}, initializers={"scale": np.float32(0.5), "zero": np.uint8(0)})
    assert gradient(proto, [-2.0, 1.1, 3.3]) == [0, 2 * 1.0, 2 * 3.5]


def test_the_clips_inside_hard_activations_let_their_bounds_through() -> None:
    sigmoid = model([helper.make_node("HardSigmoid", ["x"], ["y"], alpha=0.25, beta=0.5)], inputs={"x": ["n"]})
    assert gradient(sigmoid, [-2.5, -2.0, 0.0, 2.0, 2.5]) == [0, 0.25, 0.25, 0.25, 0]
    swish = model([helper.make_node("HardSwish", ["x"], ["y"])], inputs={"x": ["n"]})
    found = gradient(swish, [-4.0, 0.0, 3.5])
    assert found == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize("between", [None, "Identity"])
def test_the_smooth_mode_clips_and_does_not_round(between: str | None) -> None:
    twin = Twin(qdq(np.uint8(10), between=between), backward="smooth")
    x = torch.tensor(X)
    assert torch.allclose(twin(x), x.clamp(-5, 122.5), atol=1e-6)  # type: ignore[arg-type]
    assert not torch.equal(twin(x, backward="relu"), twin(x))  # type: ignore[arg-type]


@pytest.mark.parametrize(("elem_type", "coarse"), [(np.uint8, False), ("UINT4", True)])
def test_a_graph_knows_whether_its_activations_are_coarse(elem_type: object, coarse: bool) -> None:
    zero = helper.make_tensor("zero", onnx.TensorProto.UINT4, [], [0]) if elem_type == "UINT4" else np.uint8(0)
    assert Twin(qdq(zero)).coarse is coarse


@pytest.mark.parametrize("mode", BACKWARD_MODES)
def test_another_mode_of_the_same_weights(mode: BackwardMode):
    first, expected = Twin(qdq(np.uint8(10))), Twin(qdq(np.uint8(10)), backward=mode)
    found = first.in_mode(mode)
    grads = []
    for twin in (found, expected):
        leaf = torch.tensor(X, requires_grad=True)
        (grad,) = torch.autograd.grad(twin(leaf).sum(), leaf)  # type: ignore[union-attr]
        grads.append(grad)
    assert torch.equal(*grads)
    assert first.backward == "relu"
    assert all(a is b for a, b in zip(first.buffers(), found.buffers(), strict=True))
