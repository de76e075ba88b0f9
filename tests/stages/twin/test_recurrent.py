"""Recurrent layers: answers against ONNX Runtime, gradients against torch's own layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgeproof.stages.twin import Twin, UnsupportedOperator
from onnx import helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from tests.stages.twin.graphs import model, run_onnxruntime

RNG = np.random.default_rng(0)
LENGTH, BATCH, WIDTH, SIZE = 5, 3, 4, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def layer(op_type: str, *, extra: dict[str, np.ndarray] | None = None, outputs: tuple[str, ...], **attributes: Any):
    """A model of one layer; `extra` are its inputs behind the bias."""
    ways, gates = 2 if attributes.get("direction") == "bidirectional" else 1, GATES[op_type]
    order = ["lengths", "h", "c", "p"][: 4 if op_type == "LSTM" else 2]
    given = {
        "w": normal(ways, gates * SIZE, WIDTH),
        "r": normal(ways, gates * SIZE, SIZE),
        "b": normal(ways, 2 * gates * SIZE),
        **(extra or {}),
    }
    names = ["x", "w", "r", "b", *(name if name in given else "" for name in order)]
    node = helper.make_node(op_type, names, list(outputs), hidden_size=SIZE, **attributes)
    wanted = [name for name in outputs if name]
    return model([node], inputs={"x": [LENGTH, BATCH, WIDTH]}, outputs=wanted, initializers=given, opset=14)


ENDS = ("y", "last")
STATES = {"h": normal(2, BATCH, SIZE), "c": normal(2, BATCH, SIZE), "p": normal(2, 3 * SIZE)}


@pytest.mark.parametrize(
    ("op_type", "settings"),
    [
        ("RNN", {"outputs": ENDS}),
        ("RNN", {"outputs": ENDS, "activations": ["Relu"], "clip": 0.7, "direction": "reverse"}),
        ("GRU", {"outputs": ENDS}),
        ("GRU", {"outputs": ENDS, "linear_before_reset": 1, "direction": "bidirectional"}),
        ("GRU", {"outputs": ("", "last"), "extra": {"lengths": np.array([5, 2, 3], np.int32)}, "direction": "reverse"}),
        ("LSTM", {"outputs": ("y", "last", "cell")}),
        ("LSTM", {"outputs": ("y", "last", "cell"), "extra": STATES, "direction": "bidirectional"}),
        ("LSTM", {"outputs": ENDS, "extra": {"lengths": np.array([5, 2, 3], np.int32)}, "direction": "bidirectional"}),
        ("LSTM", {"outputs": ("y",), "clip": 0.5, "activations": ["HardSigmoid", "Softsign", "Tanh"]}),
    ],
)
def test_layers_answer_as_onnxruntime(op_type: str, settings: dict[str, Any]):
    proto, x = layer(op_type, **settings), normal(LENGTH, BATCH, WIDTH)
    with torch.no_grad():
        found = Twin(proto)(torch.from_numpy(x))
    found = found if isinstance(found, tuple) else (found,)
    for ours, theirs in zip(found, run_onnxruntime(proto, x), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("op_type", "make", "order"), [("LSTM", nn.LSTM, (0, 3, 1, 2)), ("GRU", nn.GRU, (1, 0, 2))])
def test_gradients_are_those_of_torch(op_type: str, make: Any, order: tuple[int, ...]):
    attributes = {"linear_before_reset": 1} if op_type == "GRU" else {}
    reference = make(WIDTH, SIZE)
    proto = layer(op_type, outputs=("y",), **attributes)
    for initializer, name in zip(proto.graph.initializer, ("weight_ih_l0", "weight_hh_l0"), strict=False):
        blocks = getattr(reference, name).detach().chunk(GATES[op_type])
        initializer.raw_data = torch.cat([blocks[place] for place in order]).numpy().tobytes()
    biases = [getattr(reference, name).detach().chunk(GATES[op_type]) for name in ("bias_ih_l0", "bias_hh_l0")]
    proto.graph.initializer[2].raw_data = torch.cat([b[place] for b in biases for place in order]).numpy().tobytes()
    x = torch.from_numpy(normal(LENGTH, BATCH, WIDTH))
    gradients = []
    for answer in (lambda rows: Twin(proto)(rows)[:, 0], lambda rows: reference(rows)[0]):
        leaf = x.clone().requires_grad_()
        (found,) = torch.autograd.grad((answer(leaf) ** 2).sum(), leaf)
        gradients.append(found)
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().min() > 0


def test_a_dynamically_quantized_lstm_is_onnxruntimes(tmp_path: Path):
    proto, x = layer("LSTM", outputs=("y", "last", "cell")), normal(LENGTH, BATCH, WIDTH)
    onnx.save(proto, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "quantized.onnx", weight_type=QuantType.QUInt8)
    quantized = onnx.load(tmp_path / "quantized.onnx")
    assert "DynamicQuantizeLSTM" in {node.op_type for node in quantized.graph.node}
    leaf = torch.from_numpy(x).requires_grad_()
    answers, plain = Twin(quantized)(leaf), Twin(proto)(leaf)
    apart = [np.abs(y.detach().numpy() - z).max() for y, z in zip(answers, run_onnxruntime(quantized, x), strict=True)]
    lost = max((y - z).abs().max().item() for y, z in zip(answers, plain, strict=True))
    assert max(apart) < lost / 5  # of what the quantization itself does
    ours, theirs = (torch.autograd.grad((found[0] ** 2).sum(), leaf)[0] for found in (answers, plain))
    assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), 0) > 0.99


def test_parameters_of_activations_are_refused_by_name():
    with pytest.raises(UnsupportedOperator, match="activation_alpha is not implemented"):
        Twin(layer("RNN", outputs=("y",), activations=["LeakyRelu"], activation_alpha=[0.1]))
    with pytest.raises(UnsupportedOperator, match="activation ScaledTanh is not implemented"):
        Twin(layer("RNN", outputs=("y",), activations=["ScaledTanh"]))
