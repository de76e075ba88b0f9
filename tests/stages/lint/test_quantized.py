"""The linter on what our own quantizer writes, and its word against the runtime's."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.stages.data import Dataset
from edgeproof.stages.lint import lint
from edgeproof.stages.quantize import quantize_onnx
from edgeproof.targets.base import targets
from edgeproof.targets.onnxruntime.target import open_session
from edgeproof.targets.schemes import SCHEMES

from tests.stages.lint.defects import float_output, unfused, unsigned_weight
from tests.stages.lint.graphs import change, network, set_attribute, store, tensor

# Our quantizer keeps a pair between a convolution and its Relu where outputs must be quantized, which XNNPACK would
# rather not have.
REMAINING = {"executorch": {"split-activation"}}


@pytest.mark.parametrize("target", SCHEMES)
def test_our_own_quantizer_pleases_every_scheme(target: str, float_onnx: Path, digits: Dataset, tmp_path: Path):
    path = tmp_path / "model.onnx"
    quantize_onnx(float_onnx, path, SCHEMES[target], digits.train.images[:64])
    found = lint(onnx.load(path), SCHEMES[target])
    assert [finding for finding in found if finding.severity == "error"] == []
    assert {finding.rule for finding in found} == REMAINING.get(target, set())


def test_four_bit_weights_in_a_scheme_that_has_them(float_onnx: Path, digits: Dataset, tmp_path: Path):
    scheme = replace(SCHEMES["onnxruntime"], weight="int4")
    quantize_onnx(float_onnx, tmp_path / "model.onnx", scheme, digits.train.images[:64])
    model = onnx.load(tmp_path / "model.onnx")
    assert lint(model, scheme) == []
    assert Counter(finding.rule for finding in lint(model, SCHEMES["onnxruntime"])) == {"weight-type": 4}


def test_a_float_file_gets_one_warning(float_onnx: Path):
    for scheme in SCHEMES.values():
        (finding,) = lint(onnx.load(float_onnx), scheme)
        assert (finding.rule, finding.severity) == ("float-model", "warning")


def test_a_file_for_one_target_is_not_one_for_another(int8_onnx: Path):
    found = lint(onnx.load(int8_onnx), SCHEMES["tensorrt"])
    errors = Counter(finding.rule for finding in found if finding.severity == "error")
    assert errors == {"activation-type": 9, "activation-zero-point": 1, "int32-bias": 4}
    assert Counter(finding.rule for finding in lint(onnx.load(int8_onnx), SCHEMES["arm"])) == {"activation-type": 9}


def test_swallowed_relus_are_found(swallowed_onnx: Path):
    found = lint(onnx.load(swallowed_onnx), SCHEMES["onnxruntime"])
    assert [finding.rule for finding in found] == ["swallowed-activation"] * 3


@pytest.mark.parametrize(
    ("rule", "name", "value"),
    [("scale-value", "relu_scale", 0.0), ("scale-value", "3.weight_scale", np.nan), ("bias-scale", "10.bias", None)],
)
def test_defects_planted_into_a_real_file(int8_onnx: Path, rule: str, name: str, value: float | None):
    model = onnx.load(int8_onnx)
    if value is None:
        change(model, f"{name}_quantized_scale", 3)
    else:
        change(model, name, first=value)
    # A bias is in units of other scales, so one of those takes it along.
    found = [finding.rule for finding in lint(model, SCHEMES["onnxruntime"])]
    assert found in ([rule], [rule, "bias-scale"])


def test_every_target_that_is_here_takes_its_scheme_from_the_table():
    for name in set(targets.names()) & set(SCHEMES):
        assert targets[name].scheme == SCHEMES[name]


def test_schemes_can_be_keys_and_one_name_is_one_scheme():
    """Targets whose schemes share a name share the quantized file."""
    by_name: dict[str, set[object]] = {}
    for scheme in SCHEMES.values():
        by_name.setdefault(scheme.name, set()).add(scheme)
    assert all(len(same) == 1 for same in by_name.values())


def answers(model: onnx.ModelProto, path: Path, *, optimise: bool) -> np.ndarray:
    onnx.save(model, path)
    images = np.random.default_rng(1).random((2, 4, 6, 6), np.float32)
    return open_session(path, optimise=optimise).run(None, {"images": images})[0]


@pytest.mark.parametrize("misread", [False, True])
def test_onnx_runtime_does_misread_weight_scales_along_another_axis(tmp_path: Path, misread: bool):
    """Why that is an error there: the optimised session answers something else than the graph says."""
    model = network(SCHEMES["onnxruntime"])
    for part in ("weight", "bias"):  # without a bias of a scale of its own, nothing else can be at fault
        change(model, f"conv_{part}_zero", 0)
    del next(entry for entry in model.graph.node if entry.name == "conv").input[2:]
    if misread:
        set_attribute(model, "conv_weight_DQ", "axis", 1)
    plain, optimised = (answers(model, tmp_path / "model.onnx", optimise=flag) for flag in (False, True))
    assert np.array_equal(plain, optimised) is not misread
    assert [finding.rule for finding in lint(model, SCHEMES["onnxruntime"])] == ["weight-axis"] * misread


def wrong_unit(model: onnx.ModelProto) -> None:
    change(model, "conv_bias_scale", 4)


def several_scales(model: onnx.ModelProto) -> None:
    for part in ("scale", "zero"):
        store(model, f"images_{part}", np.repeat(tensor(model, f"images_{part}"), 4))


@pytest.mark.parametrize(
    ("plant", "rule"),
    [
        (None, None),
        (unfused, "unfused-activation"),
        (float_output, "float-output"),
        (wrong_unit, "bias-scale"),
        (several_scales, "activation-per-channel"),
    ],
)
def test_onnx_runtime_does_leave_the_convolution_in_float(tmp_path: Path, plant, rule: str | None):
    """Why those are warnings: no integer convolution is left in the optimised graph."""
    import onnxruntime

    model = network(SCHEMES["onnxruntime"])
    if plant is not None:
        plant(model)
    assert rule is None or rule in {finding.rule for finding in lint(model, SCHEMES["onnxruntime"])}
    onnx.save(model, tmp_path / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert ("QLinearConv" in kinds) is (rule is None)


def test_unsigned_weights_with_signed_activations_stay_in_float_on_arm():
    model = network(SCHEMES["arm"])
    unsigned_weight(model)
    assert [finding.rule for finding in lint(model, SCHEMES["arm"])] == ["weight-type"]


def test_linting_needs_neither_torch_nor_a_runtime(int8_onnx: Path):
    code = (
        "import sys, onnx; from edgeproof.stages.lint import lint; from edgeproof.targets.schemes import SCHEMES\n"
        f"assert lint(onnx.load({str(int8_onnx)!r}), SCHEMES['onnxruntime']) == []\n"
        "print({m for m in ('torch', 'onnxruntime', 'scipy', 'sklearn') if m in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr
