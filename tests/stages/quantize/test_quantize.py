"""The quantized file: the scheme it was asked for, calibrated on training images only, reproducible."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import EdgeproofError, UsageError
from edgeproof.stages.data import Dataset
from edgeproof.stages.quantize import (
    MODEL,
    CalibrationConfig,
    QuantizeConfig,
    calibration_split,
    precision_name,
    quantize_onnx,
    quantize_student,
)
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.twin import load_twin
from edgeproof.targets.base import EngineFile, Scheme, targets
from onnx import numpy_helper
from pydantic import ValidationError

U8S8 = targets["onnxruntime"].scheme
THREAT = ThreatModel(norm="Linf", eps=0.1)
S8S8 = Scheme("s8s8", "int8", activation_symmetric=True, quantize_bias=False, weight_qdq_pair=True)


def quantizers(path: Path) -> list[tuple[onnx.NodeProto, np.ndarray, np.ndarray]]:
    """Every Q and DQ node with its scale and zero point."""
    model = onnx.load(path)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    return [(node, tensors[node.input[1]], tensors[node.input[2]]) for node in nodes]


def test_asymmetric_unsigned_activations_and_signed_per_channel_weights(int8_onnx: Path):
    found = quantizers(int8_onnx)
    activations = [zero for node, _, zero in found if node.op_type == "QuantizeLinear"]
    assert activations
    assert all(zero.dtype == np.uint8 for zero in activations)
    weights = [(scale, zero) for _, scale, zero in found if zero.dtype == np.int8]
    assert any(scale.size > 1 for scale, _ in weights)
    assert all((zero == 0).all() for _, zero in weights)


def test_symmetric_scheme_has_zero_points_of_zero_and_float_biases(float_onnx: Path, digits: Dataset, tmp_path: Path):
    quantize_onnx(float_onnx, tmp_path / MODEL, S8S8, digits.train.images[:64])
    found = quantizers(tmp_path / MODEL)
    assert found
    assert all((zero == 0).all() and zero.dtype == np.int8 for _, _, zero in found)


def test_keeping_activations_keeps_the_relus_visible(int8_onnx: Path, swallowed_onnx: Path):
    relus = [sum(node.op_type == "Relu" for node in onnx.load(path).graph.node) for path in (int8_onnx, swallowed_onnx)]
    assert relus == [3, 0]


def test_quantized_and_float_agree_on_labels(int8_onnx: Path, float_onnx: Path, digits: Dataset):
    answers = [
        targets["onnxruntime"].load(EngineFile.of("onnxruntime", path))(digits.test.images).argmax(1)
        for path in (int8_onnx, float_onnx)
    ]
    assert (answers[0] == answers[1]).mean() > 0.98


def test_calibration_is_a_recorded_seeded_sample_of_the_training_split(
    float_onnx: Path, digits: Dataset, tmp_path: Path
):
    config = QuantizeConfig(calibration=CalibrationConfig(samples=50, seed=3))
    quantize_student(float_onnx, config, U8S8, digits, THREAT, tmp_path)
    record = json.loads((tmp_path / "calibration.json").read_text())
    assert set(record["index"]) <= set(digits.train.index.tolist())
    assert len(set(record["index"])) == record["samples"] == 50 == sum(record["images_per_class"].values())
    assert record["seed"] == 3
    again = calibration_split(digits.train, config.calibration)
    assert again.index.tolist() == record["index"]
    other = calibration_split(digits.train, config.calibration.model_copy(update={"seed": 4}))
    assert other.index.tolist() != record["index"]


def test_the_same_input_gives_the_same_bytes_and_keeps_the_metadata(float_onnx: Path, digits: Dataset, tmp_path: Path):
    described = tmp_path / "described.onnx"
    model = onnx.load(float_onnx)
    onnx.helper.set_model_props(model, {"edgeproof.recipe_digest": "sha256:0"})
    onnx.save(model, described)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        quantize_student(described, QuantizeConfig(), U8S8, digits, THREAT, tmp_path / name)
    assert (tmp_path / "a" / MODEL).read_bytes() == (tmp_path / "b" / MODEL).read_bytes()
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "a" / MODEL).metadata_props}
    assert properties["edgeproof.recipe_digest"] == "sha256:0"
    assert properties["edgeproof.scheme"] == "u8s8"


@pytest.mark.parametrize("method", ["minmax", "mse"])
@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_four_bits_everywhere_but_at_the_ends(
    target: str, method: str, float_onnx: Path, digits: Dataset, tmp_path: Path
):
    config = QuantizeConfig.model_validate(
        {"weight_bits": 4, "activation_bits": 4, "calibration": {"samples": 128, "method": method}}
    )
    quantize_student(float_onnx, config, targets[target].scheme, digits, THREAT, tmp_path)
    path = tmp_path / MODEL
    graph = onnx.load(path).graph
    kinds = {t.name: t.data_type for t in graph.initializer}
    types = [kinds[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert types[0] == onnx.TensorProto.UINT8  # images; logits stay float
    assert set(types[1:]) == {onnx.TensorProto.UINT4}
    # One rounding a layer: none before a Relu.
    assert len(types) == sum(node.op_type in ("Conv", "Gemm") for node in graph.node)
    images = digits.test.images
    twin = load_twin(path)(torch.from_numpy(images)).numpy(force=True)
    with targets[target].load(EngineFile.of(target, path)) as engine:
        found = engine(images)
    assert (found.argmax(1) == twin.argmax(1)).mean() >= 0.99
    assert (found.argmax(1) == digits.test.labels).mean() > 0.9
    assert precision_name(config, targets[target].scheme) == "w4a4"


def test_four_bit_activations_need_four_bit_weights():
    with pytest.raises(ValidationError, match="activation_bits: 4 needs weight_bits: 4"):
        QuantizeConfig(activation_bits=4)


def test_fp32_ships_the_float_graph_as_it_is(float_onnx: Path, digits: Dataset, tmp_path: Path):
    quantize_student(float_onnx, QuantizeConfig(precision="fp32"), U8S8, digits, THREAT, tmp_path)
    assert (tmp_path / MODEL).read_bytes() == float_onnx.read_bytes()


def test_a_graph_that_the_quantizer_refuses(float_onnx: Path, digits: Dataset, tmp_path: Path):
    model = onnx.load(float_onnx)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "broken.onnx")
    with pytest.raises(EdgeproofError, match="NoSuchOperator"):
        quantize_onnx(tmp_path / "broken.onnx", tmp_path / MODEL, replace(U8S8), digits.train.images[:8])
    assert not (tmp_path / MODEL).exists()


def test_a_file_that_is_quantized_already(int8_onnx: Path, digits: Dataset, tmp_path: Path):
    with pytest.raises(UsageError, match="is quantized already; verify and recover take it as it is"):
        quantize_onnx(int8_onnx, tmp_path / MODEL, U8S8, digits.train.images[:8])


def test_calibration_images_of_the_wrong_shape(float_onnx: Path, digits: Dataset, tmp_path: Path):
    with pytest.raises(UsageError, match=r"calibration images are \[1, 4, 8\], .* takes \[1, 8, 8\]"):
        quantize_onnx(float_onnx, tmp_path / MODEL, U8S8, digits.train.images[:8, :, :4])
