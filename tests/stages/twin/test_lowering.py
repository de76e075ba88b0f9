"""Operators of ONNX Runtime and scikit-learn: answers against ONNX Runtime, gradients against the standard form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edgeproof.stages.twin import Twin, UnsupportedOperator
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from tests.stages.twin.graphs import model, run_onnxruntime

MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def drawing(seed: int = 0) -> Callable[..., np.ndarray]:
    """Normal numbers that do not depend on which tests came before."""
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.normal(size=shape).astype(np.float32)


def twin_of(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found = Twin(proto)(torch.from_numpy(x))
    assert isinstance(found, torch.Tensor)
    return found.numpy()


def gradient(proto: onnx.ModelProto, x: np.ndarray) -> torch.Tensor:
    leaf = torch.from_numpy(x).requires_grad_()
    found = Twin(proto)(leaf)
    assert isinstance(found, torch.Tensor)
    weights = torch.rand(found.shape, generator=torch.Generator().manual_seed(0))
    return torch.autograd.grad((found * weights).sum(), leaf)[0]


# -- float operators -------------------------------------------------------------------------------------------------

X = normal(2, 5, 8)
IMAGES = normal(2, 3, 6, 6)
GAMMA, BETA = normal(8), normal(8)
CONV = {"w": normal(4, 3, 3, 3), "b": normal(4)}
PADS = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}


def fused(op_type: str, *extra: str, domain: str = MICROSOFT, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, ["x", *extra], ["y"], domain=domain, **attributes)


# fmt: off
FLOATS: dict[str, tuple[np.ndarray, onnx.NodeProto, dict[str, Any]]] = {
    "FusedConv": (IMAGES, fused("FusedConv", "w", "b", activation="Relu", **PADS), CONV),
    "FusedConv without activation": (IMAGES, fused("FusedConv", "w", **PADS), CONV),
    "FusedConv and a sum": (IMAGES, fused("FusedConv", "w", "b", "z", activation="Relu", **PADS),
                            {**CONV, "z": normal(2, 4, 6, 6)}),
    "FusedConv, leaky": (IMAGES, fused("FusedConv", "w", "b", activation="LeakyRelu", activation_params=[0.2]), CONV),
    "FusedConv, clipped": (IMAGES, fused("FusedConv", "w", activation="Clip", activation_params=[-0.5, 0.5]), CONV),
    "FusedConv, hard": (IMAGES, fused("FusedConv", "w", activation="HardSigmoid", activation_params=[0.3, 0.4]), CONV),
    "FusedGemm": (normal(3, 8), fused("FusedGemm", "w", "b", transB=1, activation="LeakyRelu", activation_alpha=0.3),
                  {"w": normal(5, 8), "b": normal(5)}),
    "FusedMatMul": (X, fused("FusedMatMul", "w", transA=1, transB=1, alpha=0.5), {"w": normal(2, 4, 5)}),
    "Gelu": (X, fused("Gelu"), {}),
    "BiasGelu": (X, fused("BiasGelu", "b"), {"b": BETA}),
    "FastGelu": (X, fused("FastGelu"), {}),
    "FastGelu and a bias": (X, fused("FastGelu", "b"), {"b": BETA}),
    "QuickGelu": (X, fused("QuickGelu", alpha=1.5), {}),
    "SkipLayerNormalization": (X, fused("SkipLayerNormalization", "s", "g", "b", epsilon=1e-5),
                               {"s": normal(2, 5, 8), "g": GAMMA, "b": BETA}),
    "SkipLayerNormalization and a bias": (X, fused("SkipLayerNormalization", "s", "g", "b", "c"),
                                          {"s": normal(2, 5, 8), "g": GAMMA, "b": BETA, "c": normal(8)}),
    "SkipSimplifiedLayerNormalization": (X, fused("SkipSimplifiedLayerNormalization", "s", "g"),
                                         {"s": normal(2, 5, 8), "g": GAMMA}),
    "SimplifiedLayerNormalization": (X, fused("SimplifiedLayerNormalization", "g", domain="", epsilon=1e-6),
                                     {"g": GAMMA}),
    "LayerNormalization below opset 17": (X, fused("LayerNormalization", "g", "b", domain=""),
                                          {"g": GAMMA, "b": BETA}),
    "Attention": (X, fused("Attention", "w", "b", num_heads=2), {"w": normal(8, 24), "b": normal(24)}),
    "Attention of other widths": (X, fused("Attention", "w", "b", num_heads=2, qkv_hidden_sizes=[4, 4, 8]),
                                  {"w": normal(8, 16), "b": normal(16)}),
    "Attention, causal": (X, fused("Attention", "w", "b", num_heads=4, unidirectional=1, scale=0.3),
                          {"w": normal(8, 24), "b": normal(24)}),
    "MultiHeadAttention": (X, fused("MultiHeadAttention", "k", "v", num_heads=2),
                           {"k": normal(2, 7, 8), "v": normal(2, 7, 8)}),
    "MultiHeadAttention and a bias": (X, fused("MultiHeadAttention", "k", "v", "b", num_heads=2),
                                      {"k": normal(2, 7, 8), "v": normal(2, 7, 8), "b": normal(24)}),
}
# fmt: on


@pytest.mark.parametrize("name", FLOATS)
def test_fused_floats_are_onnxruntimes(name: str) -> None:
    x, node, values = FLOATS[name]
    proto = model([node], inputs={"x": x.shape}, initializers=values, opset=15, domains={MICROSOFT: 1})
    np.testing.assert_allclose(twin_of(proto, x), run_onnxruntime(proto, x)[0], rtol=1e-4, atol=1e-5)
    assert (gradient(proto, x) != 0).any()


def test_a_skipped_sum_is_answered_too() -> None:
    node = helper.make_node("SkipLayerNormalization", ["x", "s", "g", "b"], ["y", "", "", "t"], domain=MICROSOFT)
    values = {"s": normal(2, 5, 8), "g": GAMMA, "b": BETA}
    proto = model([node], inputs={"x": X.shape}, outputs=["y", "t"], initializers=values, domains={MICROSOFT: 1})
    for found, expected in zip(Twin(proto)(torch.from_numpy(X)), run_onnxruntime(proto, X), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_a_fused_layer_is_that_of_its_parts() -> None:
    """Black pixels and all: a ReLU that was swallowed stops what it stopped before."""
    parts = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], **PADS),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    apart = model(parts, inputs={"x": IMAGES.shape}, initializers=CONV)
    whole = model([FLOATS["FusedConv"][1]], inputs={"x": IMAGES.shape}, initializers=CONV, domains={MICROSOFT: 1})
    x = np.where(IMAGES < 0, 0, IMAGES)
    assert torch.equal(gradient(whole, x), gradient(apart, x))


# -- quantized operators ---------------------------------------------------------------------------------------------


def quantized(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...], values: dict[str, Any], *, kind: type = np.uint8
) -> onnx.ModelProto:
    """x, quantized as q; nodes that make r of it; y, what r stands for."""
    low = 0 if kind is np.uint8 else -128
    values = {"s": np.float32(0.0317), "z": kind(low + 110), "ys": np.float32(0.0523), "yz": kind(low + 90), **values}
    around = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        *nodes,
        helper.make_node("DequantizeLinear", ["r", "ys", "yz"], ["y"]),
    ]
    return model(around, inputs={"x": shape}, initializers=values, opset=17, domains={MICROSOFT: 1})


def integer(op_type: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, list(inputs), ["r"], domain=MICROSOFT, **attributes)


OTHER = {"o": RNG.integers(0, 256, (2, 3, 6, 6)), "os": np.float32(0.02), "oz": 100}
BYTES = {
    "w": RNG.integers(-128, 128, (3, 5)).astype(np.int8),
    "ws": normal(5).__abs__() / 50,
    "wz": np.zeros(5, np.int8),
}
# fmt: off
INTEGERS: dict[str, tuple[tuple[int, ...], onnx.NodeProto, dict[str, Any]]] = {
    "QLinearAdd": ((2, 3, 6, 6), integer("QLinearAdd", "q", "s", "z", "o", "os", "oz", "ys", "yz"), OTHER),
    "QLinearMul": ((2, 3, 6, 6), integer("QLinearMul", "q", "s", "z", "o", "os", "oz", "ys", "yz"), OTHER),
    "QLinearConcat": ((2, 3, 6, 6), integer("QLinearConcat", "ys", "yz", "q", "s", "z", "o", "os", "oz", axis=1),
                      OTHER),
    "QLinearLeakyRelu": ((2, 3, 6, 6), integer("QLinearLeakyRelu", "q", "s", "z", "ys", "yz", alpha=0.2), {}),
    "QLinearSigmoid": ((2, 3, 6, 6), integer("QLinearSigmoid", "q", "s", "z", "ys", "yz"),
                       {"ys": np.float32(1 / 256), "low": 0}),
    "QLinearSoftmax": ((9, 30), integer("QLinearSoftmax", "q", "s", "z", "ys", "yz", axis=-1, opset=13),
                       {"ys": np.float32(1 / 255), "low": 0}),
    "QLinearSoftmax, flattened": ((2, 3, 6), integer("QLinearSoftmax", "q", "s", "z", "ys", "yz", axis=1, opset=11),
                                  {"ys": np.float32(0.002), "low": 0}),
    "QLinearAveragePool": ((2, 3, 6, 6), integer("QLinearAveragePool", "q", "s", "z", "ys", "yz", kernel_shape=[3, 3],
                                                 pads=[1, 1, 1, 1], strides=[2, 2]), {}),
    "QLinearAveragePool, channels last": ((2, 6, 6, 3), integer("QLinearAveragePool", "q", "s", "z", "ys", "yz",
                                                                kernel_shape=[2, 2], channels_last=1), {}),
    "QLinearGlobalAveragePool": ((9, 3, 6, 6), integer("QLinearGlobalAveragePool", "q", "s", "z", "ys", "yz"), {}),
    "QLinearGlobalAveragePool, channels last": ((9, 6, 6, 3), integer("QLinearGlobalAveragePool", "q", "s", "z", "ys",
                                                                      "yz", channels_last=1), {}),
    "QGemm": ((40, 3), integer("QGemm", "q", "s", "z", "w", "ws", "wz", "c", "ys", "yz"),
              {**BYTES, "c": np.array([100, -900, 0, 4000, 5], np.int32)}),
    "QGemm, transposed": ((40, 3), integer("QGemm", "q", "s", "z", "w", "ws", "wz", "", "ys", "yz", transB=1,
                                           alpha=0.5),
                          {**BYTES, "w": BYTES["w"].T.copy()}),
    "QLinearConv, channels last": ((2, 6, 6, 3), integer("QLinearConv", "q", "s", "z", "k", "ws", "wz", "ys", "yz", "c",
                                                         channels_last=1, pads=[1, 1, 1, 1]),
                                   {**BYTES, "k": RNG.integers(-128, 128, (5, 3, 3, 3)).astype(np.int8),
                                    "c": np.array([100, -900, 0, 4000, 5], np.int32)}),
}
# fmt: on


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("name", INTEGERS)
def test_quantized_operators_are_onnxruntimes(name: str, kind: type) -> None:
    shape, node, values = INTEGERS[name]
    low = 0 if kind is np.uint8 else -128
    values = dict(values)
    if "low" in values:
        values = {**values, "yz": kind(low + values.pop("low"))}
    if "o" in values:
        values = {**values, "o": (values["o"] + low).astype(kind), "oz": kind(values["oz"] + low)}
    if kind is np.int8 and "channels last" in name:
        pytest.skip("ONNX Runtime has it for uint8 alone")
    proto = quantized([node], shape, values, kind=kind)
    x = normal(*shape) * 3  # some of it beyond the grid
    found, expected = twin_of(proto, x), run_onnxruntime(proto, x)[0]
    difference = np.abs(found - expected)
    step = float(values.get("ys", 0.0523))
    assert difference.max() <= step * 1.001  # the products of scales are rounded in another order
    assert (difference > step / 2).mean() < 0.01
    assert (gradient(proto, x) != 0).any()


def test_floats_come_out_of_a_quantized_layer_without_an_output_scale() -> None:
    layer = helper.make_node("QGemm", ["q", "s", "z", "w", "ws", "wz", "c"], ["y"], domain=MICROSOFT)
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), layer]
    values = {**BYTES, "s": np.float32(0.03), "z": np.uint8(110), "c": np.array([100, -900, 0, 4000, 5], np.int32)}
    proto = model(nodes, inputs={"x": (40, 3)}, initializers=values, opset=17, domains={MICROSOFT: 1})
    x = normal(40, 3)
    np.testing.assert_allclose(twin_of(proto, x), run_onnxruntime(proto, x)[0], rtol=1e-4, atol=1e-5)


def test_dynamic_products_are_onnxruntimes() -> None:
    node = fused("DynamicQuantizeMatMul", "w", "ws", "wz", "c")
    values = {"w": BYTES["w"], "ws": BYTES["ws"], "wz": BYTES["wz"], "c": normal(5)}
    proto = model([node], inputs={"x": (40, 3)}, initializers=values, domains={MICROSOFT: 1})
    x = normal(40, 3)
    np.testing.assert_allclose(twin_of(proto, x), run_onnxruntime(proto, x)[0], rtol=1e-4, atol=1e-5)


def test_the_gradient_of_a_quantized_layer_is_that_of_the_qdq_form() -> None:
    zero = {"z": np.uint8(0), "yz": np.uint8(0)}  # both ends are ReLUs
    whole = quantized([INTEGERS["QLinearAdd"][1]], (2, 3, 6, 6), {**zero, **OTHER, **as_bytes()})
    parts = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["left"]),
        helper.make_node("DequantizeLinear", ["o", "os", "oz"], ["right"]),
        helper.make_node("Add", ["left", "right"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "ys", "yz"], ["r"]),
    ]
    apart = quantized(parts, (2, 3, 6, 6), {**zero, **OTHER, **as_bytes()})
    x = normal(2, 3, 6, 6)
    found = gradient(whole, x)
    assert torch.equal(found, gradient(apart, x))
    assert (found == 0).any()
    assert (found != 0).any()


def as_bytes() -> dict[str, Any]:
    return {"o": OTHER["o"].astype(np.uint8), "oz": np.uint8(OTHER["oz"])}


# -- weights of few bits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accuracy", [0, 4])
@pytest.mark.parametrize("zeros", ["none", "packed", "floats"])
@pytest.mark.parametrize(("bits", "inner", "block"), [(4, 32, 16), (4, 40, 32), (8, 64, 32), (2, 64, 32), (2, 64, 16)])
def test_weights_of_few_bits_are_onnxruntimes(bits: int, inner: int, block: int, zeros: str, accuracy: int) -> None:
    if bits == 8 and zeros == "floats":
        pytest.skip("ONNX Runtime has not implemented it")
    outer, blocks = 6, -(-inner // block)
    values: dict[str, Any] = {
        "w": RNG.integers(0, 256, (outer, blocks, block * bits // 8)).astype(np.uint8),
        "ws": RNG.uniform(-0.2, 0.2, (outer, blocks)).astype(np.float32),
        "b": normal(outer),
    }
    if zeros == "packed":
        values["wz"] = RNG.integers(0, 256, (outer, -(-blocks * bits // 8))).astype(np.uint8)
    elif zeros == "floats":
        values["wz"] = RNG.uniform(0, 2**bits, (outer, blocks)).astype(np.float32)
    node = fused(
        "MatMulNBits", "w", "ws", "wz" if zeros != "none" else "", "", "b", K=inner, N=outer, bits=bits,
        block_size=block, accuracy_level=accuracy,
    )  # fmt: skip
    proto = model([node], inputs={"x": (2, 5, inner)}, initializers=values, domains={MICROSOFT: 1})
    x = normal(2, 5, inner)
    found, expected = twin_of(proto, x), run_onnxruntime(proto, x)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert (gradient(proto, x) != 0).all()


# -- whole files, as ONNX Runtime's tools leave them -------------------------------------------------------------------


def network() -> onnx.ModelProto:
    random = np.random.default_rng(3)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", **PADS),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "v"], ["d"], name="second", **PADS),
        helper.make_node("Add", ["d", "r"], ["a"], name="sum"),
        helper.make_node("GlobalAveragePool", ["a"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["f"], name="flatten"),
        helper.make_node("MatMul", ["f", "u"], ["m"], name="product"),
        helper.make_node("Softmax", ["m"], ["y"], name="softmax"),
    ]
    shapes = {"w": (4, 3, 3, 3), "b": (4,), "v": (4, 4, 3, 3), "u": (4, 5)}
    values = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return model(nodes, inputs={"x": ["n", 3, 6, 6]}, initializers=values, opset=17)


class Calibration(CalibrationDataReader):
    def __init__(self) -> None:
        self._batches = iter([{"x": np.random.default_rng(1).random((50, 3, 6, 6)).astype(np.float32)}])

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return next(self._batches, None)


def optimised(source: Path, target: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def quantized_file(source: Path, target: Path, form: QuantFormat) -> None:
    quantize_static(source, target, Calibration(), quant_format=form, per_channel=True)


def few_bits(source: Path, target: Path) -> None:
    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=16, is_symmetric=False)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target))


# Each with an operator that its file holds, the largest difference of a probability (a step of QOperator's), and the
# least cosine between its gradient and that of the float network, which quantizing turns.
WRITERS: dict[str, tuple[Callable[[Path, Path], None], str, float, float]] = {
    "optimised": (optimised, "FusedConv", 1e-5, 0.9999),
    "QOperator": (
        lambda source, target: quantized_file(source, target, QuantFormat.QOperator),
        "QLinearAdd",
        0.005,
        0.9,
    ),
    "few bits": (few_bits, "MatMulNBits", 1e-5, 0.8),
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_as_onnx_runtimes_tools_write_them(name: str, tmp_path: Path) -> None:
    write, operator, tolerance, similarity = WRITERS[name]
    source, target = tmp_path / "float.onnx", tmp_path / "written.onnx"
    onnx.save(network(), source)
    write(source, target)
    written = onnx.load(target)
    assert operator in {node.op_type for node in written.graph.node}
    x = np.random.default_rng(2).random((40, 3, 6, 6)).astype(np.float32)
    x[:10] = np.round(x[:10])  # the ends of the range
    np.testing.assert_allclose(twin_of(written, x), run_onnxruntime(written, x)[0], atol=tolerance)
    found, expected = gradient(written, x).flatten(1), gradient(network(), x).flatten(1)
    assert torch.cosine_similarity(found, expected).median() > similarity


# -- what else is written, and what is not taken ---------------------------------------------------------------------


def test_a_loop_runs_as_often_as_it_is_told() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["carried", "factor"], ["next"]),
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Identity", ["next"], ["kept"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in (("still", 9), ("next", 1), ("kept", 1))],
    )
    node = helper.make_node("Loop", ["count", "true", "x"], ["y", "all"], body=body)
    values = {"count": np.array(3), "true": np.array(True), "factor": np.float32(1.5)}
    proto = model([node], inputs={"x": (2, 3)}, outputs=["y", "all"], initializers=values)
    x = torch.from_numpy(normal(2, 3)).requires_grad_()
    found = Twin(proto)(x)
    for result, expected in zip(found, run_onnxruntime(proto, x.detach().numpy()), strict=True):
        np.testing.assert_allclose(result.detach(), expected, rtol=1e-6)
    (grad,) = torch.autograd.grad(found[0].sum(), x)
    assert torch.allclose(grad, torch.full_like(grad, 1.5**3))
    endless = model(
        [helper.make_node("Loop", ["", "true", "x"], ["y", "all"], body=body)],
        inputs={"x": (2, 3)}, outputs=["y", "all"], initializers=values,
    )  # fmt: skip
    with pytest.raises(Exception, match="more than 1000 rounds"):
        Twin(endless)(x)


@pytest.mark.parametrize(("axis", "backwards", "into"), [(0, 0, 0), (1, 1, 0), (0, 1, 1)])
def test_a_scan_walks_an_axis_either_way(axis: int, backwards: int, into: int) -> None:
    draw = drawing()
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum", "row"], ["next"]),
            helper.make_node("Mul", ["next", "factor"], ["kept"]),
        ],
        "body",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("sum", "row")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("next", "kept")],
    )
    node = helper.make_node(
        "Scan", ["start", "x"], ["y", "all"], body=body, num_scan_inputs=1, scan_input_axes=[axis],
        scan_input_directions=[backwards], scan_output_axes=[into], scan_output_directions=[backwards],
    )  # fmt: skip
    values = {"start": np.zeros(3, np.float32), "factor": np.float32(1.5)}
    proto = model([node], inputs={"x": (3, 3)}, outputs=["y", "all"], initializers=values)
    x = torch.from_numpy(draw(3, 3)).requires_grad_()
    found = Twin(proto)(x)
    for result, expected in zip(found, run_onnxruntime(proto, x.detach().numpy()), strict=True):
        np.testing.assert_allclose(result.detach(), expected, rtol=1e-6)
    (grad,) = torch.autograd.grad(found[1].sum(), x)
    # What comes earlier is in more of the sums that are kept.
    steps = torch.arange(1, 4) if backwards else torch.arange(3, 0, -1)
    assert torch.allclose(grad, (1.5 * steps.float()).expand(3, 3).movedim(1, axis))


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
@pytest.mark.parametrize("fitted", [False, True])
def test_support_vector_machines_are_onnxruntimes(kernel: str, fitted: bool) -> None:
    draw, counts, width = drawing(), [2, 3, 4], 5
    pairs, names = 3, ["label", "y"]
    settings = {
        "kernel_type": kernel, "kernel_params": [0.3, 0.5, 2.0], "classlabels_ints": [4, 7, 9],
        "vectors_per_class": counts, "support_vectors": draw(sum(counts) * width).tolist(),
        "coefficients": draw(2 * sum(counts)).tolist(), "rho": draw(pairs).tolist(),
    }  # fmt: skip
    if fitted:
        settings |= {"prob_a": [-1.5, -1.0, -2.0], "prob_b": [0.1, -0.2, 0.3]}
    node = helper.make_node("SVMClassifier", ["x"], names, domain="ai.onnx.ml", **settings)
    proto = model([node], inputs={"x": (40, width)}, outputs=names[::-1], opset=17, domains={"ai.onnx.ml": 1})
    proto.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    x = draw(40, width)
    leaf = torch.from_numpy(x).requires_grad_()
    (scores, labels), (expected, theirs) = Twin(proto)(leaf), run_onnxruntime(proto, x)
    # ONNX Runtime stops its search for the probabilities early.
    np.testing.assert_allclose(scores.detach(), expected, rtol=1e-4, atol=5e-3 if fitted else 1e-5)
    np.testing.assert_array_equal(labels, theirs)
    (grad,) = torch.autograd.grad(scores[:, 0].sum(), leaf)
    moved = torch.zeros_like(leaf)
    moved[:, 2] = 1e-2
    with torch.no_grad():
        ahead, behind = Twin(proto)(leaf + moved)[0][:, 0], Twin(proto)(leaf - moved)[0][:, 0]
    np.testing.assert_allclose(grad[:, 2], (ahead - behind) / 2e-2, rtol=2e-2, atol=2e-3)


def test_columns_are_taken_out() -> None:
    nodes = [
        helper.make_node("ArrayFeatureExtractor", ["x", "places"], ["y"], domain="ai.onnx.ml"),
        helper.make_node("ArrayFeatureExtractor", ["names", "places"], ["named"], domain="ai.onnx.ml"),
    ]
    values = {"places": np.array([[4, 1]]), "names": np.arange(5, dtype=np.float32)}
    proto = model(nodes, inputs={"x": (3, 5)}, outputs=["y", "named"], initializers=values, domains={"ai.onnx.ml": 1})
    x = drawing()(3, 5)
    for result, expected in zip(Twin(proto)(torch.from_numpy(x)), run_onnxruntime(proto, x), strict=True):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("classes", [2, 3])
def test_linear_classifiers_are_onnxruntimes(classes: int, transform: str) -> None:
    nodes = [
        helper.make_node("Scaler", ["x"], ["t"], domain="ai.onnx.ml", offset=[0.1] * 8, scale=[2.0] * 8),
        helper.make_node(
            "LinearClassifier", ["t"], ["label", "score"], domain="ai.onnx.ml", classlabels_ints=[3, 4, 9][:classes],
            coefficients=normal(8 * classes).tolist(), intercepts=normal(classes).tolist(), post_transform=transform,
            multi_class=1,
        ),
        helper.make_node("Normalizer", ["score"], ["y"], domain="ai.onnx.ml", norm="L1"),
    ]  # fmt: skip
    proto = model(nodes, inputs={"x": (40, 8)}, outputs=["y", "label"], opset=17, domains={"ai.onnx.ml": 1})
    proto.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    x = normal(40, 8)
    found = Twin(proto)(torch.from_numpy(x))
    for result, expected in zip(found, run_onnxruntime(proto, x), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


def test_what_no_output_needs_is_not_looked_at() -> None:
    nodes = [helper.make_node("Frobnicate", ["x"], ["z"]), helper.make_node("Relu", ["x"], ["y"])]
    x = torch.from_numpy(normal(3))
    assert torch.equal(Twin(model(nodes, inputs={"x": ["n"]}))(x), x.relu())  # type: ignore[arg-type]


def test_a_layout_for_one_processor_is_refused_with_the_way_out() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], domain="com.microsoft.nchwc")
    proto = model([node], inputs={"x": IMAGES.shape}, initializers=CONV, domains={"com.microsoft.nchwc": 1})
    with pytest.raises(UnsupportedOperator, match="un-optimised, or optimised at ORT_ENABLE_EXTENDED"):
        Twin(proto)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (fused("FusedConv", "w", activation="Frobnicate"), "activation='Frobnicate'"),
        (fused("FusedConv", "w", activation="Relu", novel=1), "attribute 'novel'"),
        (fused("QuickGelu", novel=1), "attribute 'novel'"),
        (fused("MatMulNBits", "w", "b", bits=3, block_size=32, K=32, N=4), "3 bits"),
        (fused("Attention", "w", "", "b", num_heads=2), "masks"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(node: onnx.NodeProto, reason: str) -> None:
    proto = model([node], inputs={"x": IMAGES.shape}, initializers=CONV, domains={MICROSOFT: 1})
    with pytest.raises(UnsupportedOperator, match=reason):
        Twin(proto)
