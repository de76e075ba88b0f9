"""QuantizeLinear and DequantizeLinear against ONNX Runtime, halves included."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from edgeproof.stages.twin import Twin, UnsupportedOperator
from onnx import TensorProto, helper

from tests.stages.twin.graphs import model, run_onnxruntime

TYPES = {
    "uint8": (TensorProto.UINT8, 13),
    "int8": (TensorProto.INT8, 13),
    "uint16": (TensorProto.UINT16, 21),
    "int16": (TensorProto.INT16, 21),
}


def zero(elem_type: int, values: int | list[int]) -> onnx.TensorProto:
    flat = [values] if isinstance(values, int) else values
    return helper.make_tensor("zero", elem_type, [] if isinstance(values, int) else [len(flat)], flat)


def samples(scale: np.ndarray, zero_point: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Random data, of which half lies exactly half-way between two steps."""
    rng = np.random.default_rng(seed)
    wild = rng.normal(0, 100, shape).astype(np.float32) * scale
    halves = (rng.integers(-300, 300, shape).astype(np.float32) + np.float32(0.5)) * scale
    return np.where(rng.random(shape) < 0.5, wild, halves).astype(np.float32)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("scale", [0.5, 0.1, 0.0078431377])
def test_per_tensor_is_onnxruntimes_to_the_bit(name: str, scale: float, fused: bool) -> None:
    elem_type, opset = TYPES[name]
    for zero_point in {"uint8": (0, 128, 7), "int8": (-128, 0, 3), "uint16": (0, 32768), "int16": (0, -32768)}[name]:
        x = samples(np.float32(scale), zero_point, (4000,), seed=zero_point % 97)
        proto = model(
            [
                helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
                helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
            ],
            inputs={"x": ["n"]},
            outputs=["y"] if fused else ["y", "q"],
            initializers={"scale": np.float32(scale), "zero": zero(elem_type, zero_point)},
            opset=opset,
        )
        if not fused:
            proto.graph.output[1].type.tensor_type.elem_type = elem_type
        expected = run_onnxruntime(proto, x)
        found = Twin(proto)(torch.from_numpy(x))
        for result, value in zip([found] if fused else found, expected, strict=True):
            np.testing.assert_array_equal(result.numpy(), value)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_per_axis_is_onnxruntimes_to_the_bit(axis: int) -> None:
    shape = (4, 3, 5)
    count = shape[axis]
    rng = np.random.default_rng(axis + 1)
    scale = rng.uniform(0.01, 0.5, count).astype(np.float32)
    broadcast = scale.reshape([-1 if i == axis % 3 else 1 for i in range(3)])
    x = samples(broadcast, 0, shape, seed=1)
    zeros = rng.integers(0, 256, count).tolist()
    proto = model(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], axis=axis),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], axis=axis),
        ],
        inputs={"x": shape},
        initializers={"scale": scale, "zero": zero(TensorProto.UINT8, zeros)},
    )
    np.testing.assert_array_equal(Twin(proto)(torch.from_numpy(x)).numpy(), run_onnxruntime(proto, x)[0])


def test_blocked_is_onnxruntimes_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.01, 0.5, (3, 2)).astype(np.float32)
    x = samples(scale.repeat(4, axis=1), 0, (3, 8), seed=2)
    proto = model(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], axis=1, block_size=4),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], axis=1, block_size=4),
        ],
        inputs={"x": [3, 8]},
        initializers={"scale": scale, "zero": rng.integers(-128, 128, (3, 2)).astype(np.int8)},
        opset=21,
    )
    np.testing.assert_array_equal(Twin(proto)(torch.from_numpy(x)).numpy(), run_onnxruntime(proto, x)[0])


def test_int32_biases_keep_the_digits_that_float32_would_lose() -> None:
    proto = model(
        [helper.make_node("DequantizeLinear", ["q", "scale"], ["d"]), helper.make_node("Add", ["x", "d"], ["y"])],
        inputs={"x": [3]},
        initializers={"q": np.array([2**31 - 1, -(2**24) - 3, 16777219], np.int32), "scale": np.float32(1e-7)},
    )
    x = np.zeros(3, np.float32)
    np.testing.assert_array_equal(Twin(proto)(torch.from_numpy(x)).numpy(), run_onnxruntime(proto, x)[0])


def test_four_bits_saturate_at_their_own_range() -> None:
    proto = model(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        inputs={"x": ["n"]},
        initializers={"scale": np.float32(1), "zero": zero(TensorProto.INT4, 0)},
        opset=21,
    )
    x = np.array([-100, -8, -2.5, -1.5, 0.5, 1.5, 7, 100], np.float32)
    assert Twin(proto)(torch.from_numpy(x)).tolist() == [-8, -8, -2, -2, 0, 2, 7, 7]  # type: ignore[union-attr]
    np.testing.assert_array_equal(Twin(proto)(torch.from_numpy(x)).numpy(), run_onnxruntime(proto, x)[0])


@pytest.mark.parametrize(
    "elem_type", [TensorProto.UINT16, TensorProto.INT16, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4]
)
def test_microsofts_operators_for_16_and_4_bits_below_opset_21(elem_type: int) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], domain="com.microsoft"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], domain="com.microsoft"),
    ]
    proto = model(
        nodes,
        inputs={"x": ["n"]},
        initializers={"scale": np.float32(0.01), "zero": zero(elem_type, 5)},
        domains={"com.microsoft": 1},
        opset=17,
    )
    x = samples(np.float32(0.01), 5, (500,), seed=3)
    np.testing.assert_array_equal(Twin(proto)(torch.from_numpy(x)).numpy(), run_onnxruntime(proto, x)[0])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("scale", [1.0, 0.037])
@pytest.mark.parametrize("name", ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"])
def test_8_bit_floats_are_onnxruntimes_to_the_bit(name: str, scale: float, fused: bool) -> None:
    between = [helper.make_node("Identity", ["q"], ["f"])] if not fused else []
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        *between,
        helper.make_node("DequantizeLinear", ["q" if fused else "f", "scale", "zero"], ["y"]),
    ]
    values = {"scale": np.float32(scale), "zero": helper.make_tensor("zero", getattr(TensorProto, name), [], [0.0])}
    proto = model(nodes, inputs={"x": ["n"]}, initializers=values, opset=19)
    rng = np.random.default_rng(0)
    spread = [rng.normal(0, deviation, 4000) for deviation in (200, 1, 1e-3)]
    edges = [0, 240, 448, 464, 480, 57344, 6e4, 7e4, np.inf]
    x = np.concatenate([*spread, edges, np.negative(edges)]).astype(np.float32)
    leaf = torch.from_numpy(x).requires_grad_()
    found = Twin(proto)(leaf)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.detach().numpy(), run_onnxruntime(proto, x)[0])
    (grad,) = torch.autograd.grad(found.sum(), leaf)
    torch.testing.assert_close(grad, torch.ones_like(grad))


def test_8_bit_floats_that_do_not_saturate_are_refused() -> None:
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["y"], output_dtype=TensorProto.FLOAT8E4M3FN, saturate=0)
    with pytest.raises(UnsupportedOperator, match="saturate=0"):
        Twin(model([node], inputs={"x": ["n"]}, initializers={"s": np.float32(1)}, opset=21))


def test_double_carries_through() -> None:
    proto = model(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        inputs={"x": ["n"]},
        initializers={"scale": np.float32(0.5), "zero": np.uint8(0)},
    )
    leaf = torch.tensor([-1.0, 0.2, 0.3], dtype=torch.float64, requires_grad=True)
    y = Twin(proto).double()(leaf)
    assert isinstance(y, torch.Tensor)
    assert y.dtype == torch.float64
    assert y.tolist() == [0, 0, 0.5]
    assert torch.autograd.grad(y.sum(), leaf)[0].tolist() == [0, 1, 1]


INTEGER_FORMS = {
    "QLinearConv": (
        ["x_q", "s", "z", "w", "ws", "wz", "ys", "yz", "bias"],
        {
            "w": np.random.default_rng(0).integers(-128, 128, (4, 3, 3, 3)).astype(np.int8),
            "ws": np.array([0.01, 0.02, 0.003, 0.04], np.float32),
            "wz": np.zeros(4, np.int8),
            "bias": np.array([100, -200, 0, 5000], np.int32),
        },
        (2, 3, 6, 6),
    ),
    "QLinearMatMul": (
        ["x_q", "s", "z", "w", "ws", "wz", "ys", "yz"],
        {
            "w": np.random.default_rng(1).integers(0, 256, (6, 5)).astype(np.uint8),
            "ws": np.float32(0.02),
            "wz": np.uint8(120),
        },
        (7, 6),
    ),
}


@pytest.mark.parametrize("op_type", INTEGER_FORMS)
def test_the_integer_form_agrees_with_onnxruntime_and_passes_gradients(op_type: str) -> None:
    names, values, shape = INTEGER_FORMS[op_type]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["x_q"]),
        helper.make_node(op_type, names, ["y_q"]),
        helper.make_node("DequantizeLinear", ["y_q", "ys", "yz"], ["y"]),
    ]
    values = {"s": np.float32(0.02), "z": np.uint8(128), "ys": np.float32(0.1), "yz": np.uint8(100), **values}
    proto = model(nodes, inputs={"x": shape}, initializers=values, opset=13)
    x = np.random.default_rng(2).normal(0, 1, shape).astype(np.float32)
    leaf = torch.from_numpy(x).requires_grad_()
    y = Twin(proto)(leaf)
    assert isinstance(y, torch.Tensor)
    # Optimised, as only an optimisation keeps the sums exact on processors that would let them saturate.
    difference = np.abs(y.detach().numpy() - run_onnxruntime(proto, x, optimise=True)[0])
    assert difference.max() <= 0.1 * 1.001  # one output step: the products of scales are rounded in another order
    assert (difference > 1e-6).mean() < 0.01
    (grad,) = torch.autograd.grad(y.sum(), leaf)
    weight = torch.as_tensor(values["w"].astype(np.float32)) - float(np.max(values["wz"]))
    if op_type == "QLinearMatMul":
        expected = (torch.ones(7, 5) @ (weight * 0.02).T).expand_as(grad)
        inside = ((y > 0.1 * (0 - 100) + 0.05) & (y < 0.1 * 155 - 0.05)).all()
        assert inside  # else the identity gradient still holds, but this check would say less
        torch.testing.assert_close(grad, expected)
    else:
        scaled = weight * torch.as_tensor(values["ws"]).reshape(-1, 1, 1, 1)
        expected = torch.nn.functional.conv_transpose2d(torch.ones(2, 4, 4, 4), scaled)
        torch.testing.assert_close(grad, expected)


def test_dynamic_quantization_agrees_with_onnxruntime() -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    proto = model(nodes, inputs={"x": ["n"]}, opset=13)
    x = np.random.default_rng(4).normal(0.5, 1, 300).astype(np.float32)
    np.testing.assert_allclose(Twin(proto)(torch.from_numpy(x)).numpy(), run_onnxruntime(proto, x)[0], atol=1e-6)
