"""What the engine inspector's JSON says of each layer, in its form up to TensorRT 10 and in that of 11.

The form up to 10 is as users printed it (issues 3737 and 4020 of NVIDIA's TensorRT repository: tensors, `Weights`, the
words for formats; its Engine Explorer, `activations.py`: all words for formats). That of 11 is as "Migrating
IEngineInspector Usage from TensorRT 10.x to 11.x" tells: `Datatype` and `Format` apart, `I/O Tensors` for `Bindings`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from edgeproof.core.errors import StageError
from edgeproof.targets.tensorrt.plan.inspector import precisions, quantized_operators, read_layers

from tests.targets.tensorrt.quantized_conv import quantized_conv, saved

# conv1 + relu1 → conv2 (whose kernel is a float one, although its input is int8) → pool → fc, and a region.
LAYERS: list[tuple[str, str, str, str, str | None, tuple[str, ...]]] = [
    # name, type, type of the input, of the output, of the weights, ONNX nodes
    ("Reformatting CopyNode for Input Tensor 0 to conv1 + relu1", "Reformat", "fp32", "int8", None, ("conv1",)),
    ("conv1.weight + q1 + conv1 + relu1", "CaskConvolution", "int8", "int8", "Int8", ("q1", "conv1", "relu1")),
    ("conv2", "CaskConvolution", "int8", "fp32", "Float", ("conv2",)),
    ("pool", "CaskPooling", "fp32", "fp32", None, ("pool",)),
    ("fc_myl0_1", "gemm", "int8", "fp32", None, ("fc",)),
    ("{ForeignNode[attention...norm]}", "Myelin", "int8", "int8", None, ("attention",)),
]
OPERATORS = ["conv1", "conv2", "fc", "attention", "gone"]
PRECISIONS = {"conv1": "int8", "conv2": "float", "fc": "int8", "attention": "unknown", "gone": "unknown"}

WORDS_OF_10 = {
    ("int8", False): "Thirty-two wide channel vectorized row major Int8 format",
    ("fp32", False): "Row major linear FP32",
    ("int8", True): "Int8",
    ("fp32", True): "Float",
}


def tensor(form: str, kind: str, *, generated: bool) -> dict[str, Any]:
    about: dict[str, Any] = {"Name": "tensor", "Location": "Device", "Dimensions": [1, 32, 8, 8]}
    if form == "10":
        return about | {"Format/Datatype": WORDS_OF_10[kind, generated]}
    words = {"int8": "Int8", "fp32": "Float"}
    return about | {"Format": "Channel major INT8 format where channel % 16 == 0", "Datatype": words[kind]}


def report(form: str) -> dict[str, Any]:
    layers: list[dict[str, Any]] = []
    for name, kind, given, answer, weights, nodes in LAYERS:
        generated = kind in ("gemm", "Myelin")
        layer = {
            "Name": name,
            "LayerType": kind,
            "Inputs": [tensor(form, given, generated=generated)],
            "Outputs": [tensor(form, answer, generated=generated)],
            "TacticName": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32",
            "StreamId": 0,
            "Metadata": "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes),
        }
        layers.append(layer | ({} if weights is None else {"Weights": {"Type": weights, "Count": 9216}}))
    if form == "10":
        return {"Layers": layers, "Bindings": ["images", "logits"]}
    io = {"Name": "images", "IOMode": "Input", "DataType": "Float", "Dimensions": [-1, 3, 8, 8], "Location": "Device"}
    return {"Layers": layers, "I/O Tensors": [io]}


@pytest.mark.parametrize("form", ["10", "11"])
def test_which_operators_run_in_int8(form: str):
    layers = read_layers(json.dumps(report(form)))
    assert precisions(layers, OPERATORS) == PRECISIONS
    assert [layer.inputs for layer in layers[:3]] == [(kind,) for kind in (layers[0].inputs[0], "int8", "int8")]


def test_a_node_that_became_several_layers_counts_as_its_worst():
    about = report("11")
    convolution = about["Layers"][1]
    about["Layers"].append(convolution | {"Inputs": [tensor("11", "fp32", generated=False)]})
    assert precisions(read_layers(json.dumps(about)), ["conv1"]) == {"conv1": "float"}


def test_without_metadata_the_names_tell():
    about = report("10")
    for layer in about["Layers"]:
        layer["Metadata"] = ""
    found = precisions(read_layers(json.dumps(about)), OPERATORS)
    assert (found["conv1"], found["conv2"], found["fc"]) == ("int8", "float", "unknown")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Channel major Int8 format where channel % 4 == 0", "int8"),
        ("Row major linear UInt8 format", "uint8"),
        ("Row major linear INT8 format (kLINEAR)", "int8"),
        ("Sixteen wide channel vectorized row major FP16 format", "fp16"),
        ("Row major linear BFloat16 format", "bfloat16"),
        ("Int8 NC/32HW32", "int8"),
        ("N/A due to dynamic shapes", None),
    ],
)
def test_words_for_formats(words: str, kind: str | None):
    about = report("10")
    about["Layers"][1]["Inputs"][0]["Format/Datatype"] = words
    assert read_layers(json.dumps(about))[1].inputs == (kind,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (json.dumps({"Layers": ["conv1 + relu1", "pool"]}), "no more of its layers than their names"),
        (json.dumps({"layers": []}), "not what the engine inspector"),
        (json.dumps({"Layers": [{"Name": "conv1"}]}), "not what the engine inspector"),
        ("conv1: CaskConvolution", "not what the engine inspector"),
    ],
)
def test_something_else(text: str, says: str):
    with pytest.raises(StageError, match=says):
        read_layers(text)


def test_operators_that_should_run_in_int8(tmp_path: Path):
    model = quantized_conv()
    assert quantized_operators(saved(model, tmp_path / "whole.onnx")) == ["conv"]
    conv = next(node for node in model.graph.node if node.name == "conv")
    conv.input[0] = "images"
    assert quantized_operators(saved(onnx.ModelProto.FromString(model.SerializeToString()), tmp_path / "w.onnx")) == []
