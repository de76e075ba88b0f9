"""Quantization stage: the float ONNX file in the precision and scheme of a target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...targets.base import Scheme
from ..data import Dataset
from ..threat import ThreatModel
from .config import QuantizeConfig
from .precisions.base import Job, precisions


def quantize_student(
    float_model: Path,
    config: QuantizeConfig,
    scheme: Scheme,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    **more: Any,
) -> None:
    """Write `model.onnx`, and what the precision tells of it besides, into `folder`.

    Args:
        float_model: the float ONNX file.
        config: how it is quantized.
        scheme: what the target wants.
        dataset: its training split gives the calibration images.
        threat: the ball of adversarial calibration images.
        folder: where the files go.
        more: further attributes of `Job`: `notice`, and what precisions need that are measured.

    Raises:
        StageError: the quantizer fails.
        UsageError: the file is quantized already, or the images do not suit it.
    """
    precisions[config.precision].make(job_of(float_model, config, scheme, dataset, threat, folder, **more))


def job_of(
    float_model: Path,
    config: QuantizeConfig,
    scheme: Scheme,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    **more: Any,
) -> Job:
    """What a precision is made of; arguments as of `quantize_student`."""
    scheme = scheme_of(config, scheme)
    return Job(float_model, folder, scheme, config.calibration, config.search, dataset, threat, **more)


def scheme_of(config: QuantizeConfig, scheme: Scheme) -> Scheme:
    """Return a target's scheme with what the recipe changes of it."""
    if config.weight_bits == 4:
        scheme = replace(scheme, weight="int4")
    if config.activation_bits == 4:
        scheme = replace(scheme, activation="uint4" if scheme.activation == "uint8" else "int4")
    return scheme if config.per_channel is None else replace(scheme, per_channel=config.per_channel)


def precision_name(config: QuantizeConfig, scheme: Scheme) -> str:
    """Return the precision as reports call it, in a target's scheme."""
    return precisions[config.precision].label(scheme_of(config, scheme))
