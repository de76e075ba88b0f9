"""Activation-range calibration, streamed batch by batch so that memory stays bounded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.writing.scratch import scratch_folder
from ...targets.base import Images, Scheme
from .calibration_config import CalibrationConfig

if TYPE_CHECKING:
    from onnxruntime.quantization.calibrate import TensorsData

BATCH = 32
_BINS = 2048
# Fractions of the full range that `mse` tries.
_SHRINK = np.linspace(0.2, 1.0, 81)
# As ONNX Runtime calls them.
_METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}

Range = tuple[float, float]


def activation_ranges(
    model: Path,
    input_name: str,
    images: Images,
    config: CalibrationConfig,
    scheme: Scheme,
    *,
    wide: tuple[str, ...] = (),
) -> dict[str, Range]:
    """Return the smallest and the largest value of every float tensor that its quantizer is to represent.

    Args:
        model: the float file, prepared for quantization.
        input_name: of its images.
        images: `[N, C, H, W]`.
        config: which method.
        scheme: for `mse`, the grid whose rounding counts.
        wide: names of tensors that have 8 bits whatever the others have.
    """
    # It imports much that only quantizing takes.
    from onnxruntime.quantization.calibrate import CalibrationMethod, HistogramCalibrater, create_calibrator

    with scratch_folder() as scratch, redirect_stdout(io.StringIO()):
        augmented = str(scratch / "augmented.onnx")
        if config.method == "mse":
            calibrator: Any = HistogramCalibrater(
                str(model), augmented_model_path=augmented, method="entropy", num_bins=_BINS
            )
            calibrator.augment_graph()
            calibrator.create_inference_session()
        else:
            options: dict[str, Any] = {"symmetric": False}
            if config.method == "percentile":
                options |= {"num_bins": _BINS, "percentile": config.percentile}
            elif config.method == "entropy":
                options |= {"num_bins": _BINS, "num_quantized_bins": 128}
            calibrator = create_calibrator(
                str(model),
                augmented_model_path=augmented,
                calibrate_method=CalibrationMethod[_METHODS[config.method]],
                extra_options=options,
            )
        for first in range(0, len(images), BATCH):
            calibrator.collect_data(_OneBatch({input_name: images[first : first + BATCH]}))
        if config.method == "mse":
            histograms = calibrator.collector.get_histogram_dict()
            steps = {name: _steps(scheme, 8 if name in wide else scheme.activation_bits) for name in histograms}
            return _least_squares(histograms, scheme.activation_symmetric, steps)
        found = calibrator.compute_data()
    return {name: _range(found, name) for name in found.keys()}  # noqa: SIM118  (not a dict)


class _OneBatch:
    """A reader as ONNX Runtime's calibrators ask it."""

    def __init__(self, feed: dict[str, np.ndarray]) -> None:
        self._feeds = iter([feed])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def _range(found: TensorsData, name: str) -> Range:
    low, high = found[name].range_value
    return float(np.min(low)), float(np.max(high))


def _steps(scheme: Scheme, bits: int) -> int:
    """Steps between zero and the end of a symmetric range, or between both ends."""
    return 2 ** (bits - 1) - 1 if scheme.activation_symmetric else 2**bits - 1


def _least_squares(histograms: dict[str, Any], symmetric: bool, steps: dict[str, int]) -> dict[str, Range]:
    """Shrink every tensor's range to where rounding and clipping cost least together."""
    found: dict[str, Range] = {}
    for name, (counts, edges, low, high, *_) in histograms.items():
        middles = (edges[:-1] + edges[1:]) / 2
        candidates = list(_candidates(float(low), float(high), symmetric))
        errors = [_squared_error(counts, middles, candidate, steps[name], symmetric) for candidate in candidates]
        found[name] = candidates[int(np.argmin(errors))]
    return found


def _candidates(low: float, high: float, symmetric: bool) -> Iterator[Range]:
    """Ranges with zero inside; one that is all on one side of it shrinks on that side alone."""
    low, high = min(low, 0.0), max(high, 0.0)
    for share in _SHRINK[::-1]:
        bound = max(-low, high) * share
        yield (-bound, bound) if symmetric else (max(low, -bound), min(high, bound))


def _squared_error(counts: np.ndarray, values: np.ndarray, candidate: Range, steps: int, symmetric: bool) -> float:
    low, high = candidate
    scale = (high if symmetric else high - low) / steps
    if scale <= 0:
        return float((counts * values**2).sum())
    rounded = np.clip(np.round(values / scale), np.round(low / scale), np.round(high / scale)) * scale
    return float((counts * (values - rounded) ** 2).sum())
