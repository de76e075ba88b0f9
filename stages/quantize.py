"""Stage `quantize`: the float ONNX file as a QDQ graph in the scheme of a target."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from pydantic import Field

from ..targets.base import Scheme
from ..targets.errors import StageError
from ..targets.signature import read_signature
from .data import Dataset, Split
from .properties import describe, properties_of
from .section import Section

MODEL = "model.onnx"
CALIBRATION_BATCH = 32


class QuantizeConfig(Section):
    """How the student is quantized.

    Attributes:
        precision: `int8`, or `fp32` to ship the float graph as it is.
        calibration_samples: how many images of the training split set the activation ranges.
        seed: which ones.
    """

    precision: Literal["int8", "fp32"] = "int8"
    calibration_samples: int = Field(default=256, ge=1)
    seed: int = 0


def quantize_student(float_model: Path, config: QuantizeConfig, scheme: Scheme, dataset: Dataset, folder: Path) -> None:
    """Write `model.onnx` and `calibration.json` into `folder`.

    Raises:
        StageError: the quantizer fails.
    """
    path = folder / MODEL
    if config.precision == "fp32":
        path.write_bytes(float_model.read_bytes())
        return
    sample = calibration_sample(dataset.train, config)
    quantize_onnx(float_model, path, scheme, sample.images)
    properties = {"edgeproof.precision": config.precision, "edgeproof.scheme": scheme.name}
    describe(path, {**properties_of(float_model), **properties})
    counts = np.bincount(sample.labels, minlength=len(dataset.class_names))
    record = {
        "split": "train",
        "samples": len(sample),
        "seed": config.seed,
        "index": sample.index.tolist(),
        "images_per_class": dict(zip(dataset.class_names, counts.tolist(), strict=True)),
        "sha256": hashlib.sha256(sample.images.tobytes()).hexdigest(),
        "scheme": scheme.name,
    }
    (folder / "calibration.json").write_text(json.dumps(record, indent=1))


def calibration_sample(train: Split, config: QuantizeConfig) -> Split:
    """Draw the seeded calibration sample, without replacement, from the training split."""
    count = min(config.calibration_samples, len(train))
    rows = np.random.default_rng(config.seed).choice(len(train), count, replace=False)
    return train.take(np.sort(rows))


def quantize_onnx(float_model: Path, path: Path, scheme: Scheme, images: np.ndarray) -> None:
    """Insert Q/DQ pairs by ONNX Runtime's static quantizer, ranges by min-max over `images`.

    Raises:
        StageError: the quantizer refuses the graph.
    """
    kinds = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        prepared = Path(scratch) / "prepared.onnx"
        try:
            quant_pre_process(str(float_model), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(path),
                _Reader(images, read_signature(float_model).input_name),
                quant_format=QuantFormat.QDQ,
                activation_type=kinds[scheme.activation],
                weight_type=kinds[scheme.weight],
                per_channel=scheme.per_channel,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={
                    "ActivationSymmetric": scheme.activation_symmetric,
                    "WeightSymmetric": True,
                    "QuantizeBias": scheme.quantize_bias,
                    "AddQDQPairToWeight": scheme.weight_qdq_pair,
                    # A Relu swallowed by an unsigned quantizer is invisible to whoever reads the graph.
                    "QDQKeepRemovableActivations": scheme.keep_activations,
                },
            )
        except Exception as error:  # the quantizer's errors share no base class
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise StageError(f"quantize: ONNX Runtime's quantizer failed: {reason}") from error


class _Reader(CalibrationDataReader):
    """Hands the calibration images to ONNX Runtime in small batches."""

    def __init__(self, images: np.ndarray, input_name: str) -> None:
        self._batches = self._stream(images, input_name)

    @staticmethod
    def _stream(images: np.ndarray, input_name: str) -> Iterator[dict[str, np.ndarray]]:
        for first in range(0, len(images), CALIBRATION_BATCH):
            yield {input_name: images[first : first + CALIBRATION_BATCH]}

    def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the next batch, or None after the last."""
        return next(self._batches, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizer's advice out of the user's terminal."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
