"""Precisions: a new one is one file, and every file is called by what it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.recipe.read import read_recipe
from edgeproof.pipeline.recipe.recipe import parse_recipe
from edgeproof.stages.data import Dataset
from edgeproof.stages.properties import properties_of
from edgeproof.stages.quantize import MODEL, QuantizeConfig, precision_name, quantize_student
from edgeproof.stages.quantize.precisions.base import FloatPrecision, precision_of, precisions
from edgeproof.stages.threat import ThreatModel
from edgeproof.targets.base import targets
from onnx import numpy_helper
from pydantic import ValidationError

THREAT = ThreatModel(norm="Linf", eps=0.1)
SCHEME = targets["onnxruntime"].scheme
ROOT = Path(__file__).parents[3]


class Powers(FloatPrecision):
    """A third party's: weights that are powers of two."""

    name = "powers"

    def convert(self, float_model: Path, path: Path) -> None:
        """Round every weight's logarithm."""
        model = onnx.load(float_model)
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                rounded = np.sign(values) * 2 ** np.rint(np.log2(np.abs(values) + 1e-12))
                tensor.CopyFrom(numpy_helper.from_array(rounded.astype(np.float32), tensor.name))
        onnx.save(model, path)

    def describes(self, operators, types) -> bool:
        """Nothing in the types shows it."""
        return False


@pytest.fixture
def toy_precision(monkeypatch: pytest.MonkeyPatch) -> str:
    precisions.names()  # loads what is registered otherwise
    monkeypatch.setitem(precisions._entries, "powers", Powers())
    return "powers"


def test_a_third_partys_file_is_made_and_told_of(toy_precision: str, float_onnx: Path, digits: Dataset, tmp_path: Path):
    config = QuantizeConfig(precision=toy_precision)
    quantize_student(float_onnx, config, SCHEME, digits, THREAT, tmp_path)
    assert properties_of(tmp_path / MODEL)["edgeproof.precision"] == precision_name(config, SCHEME) == "powers"
    weights = [numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / MODEL).graph.initializer]
    steps = np.log2(np.abs(np.concatenate([w.ravel() for w in weights if w.dtype == np.float32 and w.any()])))
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-5)


def test_a_recipe_and_its_schema_know_it(toy_precision: str):
    raw = read_recipe(ROOT / "examples" / "digits.yaml", [f"quantize.precision={toy_precision}"], None)
    assert parse_recipe(raw, "recipe").quantize.precision == toy_precision
    known = QuantizeConfig.model_json_schema()["properties"]["precision"]["examples"]
    assert known == ["auto", "bf16", "fp16", "fp32", "int8", "mixed", "powers"]


def test_an_unknown_one_lists_the_known():
    with pytest.raises(ValidationError, match=r"unknown precision 'int7'; did you mean 'int8'\? \(known: auto, bf16,"):
        QuantizeConfig(precision="int7")


def test_recover_has_nothing_to_do_where_nothing_is_lost():
    overrides = ["quantize.precision=fp32", "recover={epochs: 1}"]
    raw = read_recipe(ROOT / "examples" / "digits.yaml", overrides, None)
    with pytest.raises(UsageError, match=r"quantize\.precision fp32 costs nothing"):
        parse_recipe(raw, "recipe")


@pytest.mark.parametrize(
    ("config", "name", "found"),
    [
        ({"precision": "int8"}, "int8", "int8"),
        ({"precision": "int8", "weight_bits": 4}, "w4a8", "int8"),
        ({"precision": "fp16"}, "fp16", "fp16"),
        ({"precision": "bf16"}, "bf16", "bf16"),
        ({"precision": "fp32"}, "fp32", "fp32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_are_called_by_what_they_hold(
    config, name: str, found: str, float_onnx: Path, digits: Dataset, tmp_path: Path
):
    settings = QuantizeConfig.model_validate({**config, "calibration": {"samples": 64}})
    quantize_student(float_onnx, settings, SCHEME, digits, THREAT, tmp_path)
    assert precision_name(settings, SCHEME) == name
    assert precision_of(tmp_path / MODEL) == found
