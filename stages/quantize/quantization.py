"""Stage `quantize`: the float ONNX file as a QDQ graph in the scheme of a target."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...targets.base import Images, Scheme
from ..data import Dataset
from ..properties import describe, properties_of
from ..threat import ThreatModel
from ..twin import load_twin
from .bfloat import to_bfloat16
from .config import QuantizeConfig
from .half import to_half
from .qdq import quantize_onnx
from .sample import calibration_sample

MODEL = "model.onnx"
CALIBRATION = "calibration.json"


def quantize_student(
    float_model: Path,
    config: QuantizeConfig,
    scheme: Scheme,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    *,
    notice: Callable[[str], None] = lambda _: None,
) -> None:
    """Write `model.onnx` and, for integers, `calibration.json` into `folder`.

    Args:
        float_model: the float ONNX file.
        config: how it is quantized; for `mixed` and `auto` see `stages/mixed`.
        scheme: what the target wants.
        dataset: its training split gives the calibration images.
        threat: the ball of adversarial calibration images.
        folder: where the files go.
        notice: told what is wrong with the calibration sample.

    Raises:
        StageError: the quantizer fails.
        UsageError: the file is quantized already, or the images do not suit it.
    """
    path = folder / MODEL
    if config.precision == "fp32":
        path.write_bytes(float_model.read_bytes())
        return
    properties = {"edgeproof.precision": precision_name(config), "edgeproof.scheme": scheme.name}
    if config.precision == "fp16":
        to_half(float_model, path)
    elif config.precision == "bf16":
        to_bfloat16(float_model, path)
    else:
        scheme = scheme_of(config, scheme)
        images = calibrate(float_model, config, dataset, threat, folder, scheme=scheme, notice=notice)
        quantize_onnx(float_model, path, scheme, images, config.calibration)
    describe(path, {**properties_of(float_model), **properties})


def calibrate(
    float_model: Path,
    config: QuantizeConfig,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    *,
    scheme: Scheme,
    notice: Callable[[str], None] = lambda _: None,
) -> Images:
    """Return the calibration images `[N, C, H, W]`, and write what the report says of them as `calibration.json`.

    Arguments and errors as of `quantize_student`.
    """
    calibration = config.calibration
    attacked = None if calibration.images == "clean" else load_twin(float_model)
    sample = calibration_sample(dataset, calibration, threat, attacked)
    record = sample.record(calibration, dataset.class_names)
    for warning in record["warnings"]:
        notice(warning)
    record |= {"scheme": scheme.name, "method": calibration.method, "images": calibration.images}
    (folder / CALIBRATION).write_text(json.dumps(record, indent=1))
    return sample.split.images


def scheme_of(config: QuantizeConfig, scheme: Scheme) -> Scheme:
    """Return a target's scheme with what the recipe changes of it."""
    if config.weight_bits == 4:
        scheme = replace(scheme, weight="int4")
    if config.activation_bits == 4:
        scheme = replace(scheme, activation="uint4" if scheme.activation == "uint8" else "int4")
    return scheme if config.per_channel is None else replace(scheme, per_channel=config.per_channel)


def precision_name(config: QuantizeConfig) -> str:
    """Return the precision as reports call it."""
    narrow = config.precision == "int8" and config.weight_bits == 4
    return f"w4a{config.activation_bits}" if narrow else config.precision
