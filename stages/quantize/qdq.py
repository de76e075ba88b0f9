"""Static QDQ quantization by ONNX Runtime's quantizer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import StageError, UsageError
from ...core.onnx_reader import read_onnx
from ...core.writing.scratch import scratch_folder
from ...targets.base import Images, Scheme
from ...targets.signature import read_signature
from .calibration_config import CalibrationConfig
from .ranges import Range, activation_ranges

# As ONNX Runtime's quantizer calls them; importing it takes longer than looking for what was quantized before.
_TYPES = {"uint8": "QUInt8", "int8": "QInt8", "uint4": "QUInt4", "int4": "QInt4"}


def is_quantized(model: Path) -> bool:
    """Whether an ONNX file holds quantizers; raises ModelError where it is none."""
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in read_onnx(model).graph.node)


def prepare(float_model: Path, path: Path) -> None:
    """Write a float file with shapes inferred, BatchNorm folded and constants computed.

    Raises:
        StageError: ONNX Runtime refuses the graph.
        UsageError: the file is quantized already.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if is_quantized(float_model):
        raise UsageError(f"{float_model}: is quantized already; verify and recover take it as it is")
    with _quietly(f"ONNX Runtime cannot prepare {float_model.name}"):
        quant_pre_process(str(float_model), str(path), skip_symbolic_shape=True)


def quantize_onnx(
    float_model: Path, path: Path, scheme: Scheme, images: Images, calibration: CalibrationConfig | None = None
) -> None:
    """Quantize a float file in a scheme, with activation ranges from images.

    Args:
        float_model: the float file.
        path: where the QDQ file goes.
        scheme: what it is to look like.
        images: `[N, C, H, W]`, what ranges are found on.
        calibration: by which method; min-max when None.

    Raises:
        StageError: the quantizer refuses the graph.
        UsageError: the file is quantized already, or the images do not suit it.
    """
    signature = read_signature(float_model)
    if images.shape[1:] != signature.image_shape:
        raise UsageError(
            f"calibration images are {list(images.shape[1:])}, {float_model} takes {list(signature.image_shape)}"
        )
    with scratch_folder() as scratch:
        prepared = scratch / "prepared.onnx"
        prepare(float_model, prepared)
        with _quietly("ONNX Runtime cannot calibrate the model"):
            ranges = activation_ranges(
                prepared,
                signature.input_name,
                images,
                calibration or CalibrationConfig(),
                scheme,
                wide=(signature.input_name, signature.output_name),
            )
        insert(prepared, path, scheme, ranges)


def insert(
    prepared: Path, path: Path, scheme: Scheme, ranges: Mapping[str, Range], *, keep: tuple[str, ...] = ()
) -> None:
    """Insert Q/DQ pairs into a prepared float file.

    Args:
        prepared: what `prepare` wrote.
        path: where the QDQ file goes.
        scheme: what it is to look like.
        ranges: of every float tensor.
        keep: names of nodes that stay in float.

    Raises:
        StageError: the quantizer refuses the graph.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    with scratch_folder() as scratch, _quietly("ONNX Runtime's quantizer failed"):
        cache = scratch / "ranges.json"
        bounds: dict[str, Any] = {
            name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()
        }
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, bounds), cache)
        quantize_static(
            str(prepared),
            str(path),
            None,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType[_TYPES[scheme.activation]],
            weight_type=QuantType[_TYPES[scheme.weight]],
            per_channel=scheme.per_channel,
            nodes_to_exclude=list(keep),
            calibrate_method=CalibrationMethod.MinMax,
            calibration_cache_path=cache,
            extra_options={
                **_epilogue(scheme),
                **_wide_ends(prepared, scheme),
                "ActivationSymmetric": scheme.activation_symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": scheme.quantize_bias,
                "AddQDQPairToWeight": scheme.weight_qdq_pair,
                # A Relu swallowed by an unsigned quantizer is invisible to whoever reads the graph.
                "QDQKeepRemovableActivations": scheme.keep_activations,
            },
        )


def _epilogue(scheme: Scheme) -> dict[str, Any]:
    """Where a target fuses a Relu into the operator before it, quantize inputs alone: no pair then splits the two.

    So too with 4-bit activations, for which nobody has integer kernels: half the steps of a pair before a Relu would
    go to what the Relu cuts off.
    """
    from onnxruntime.quantization.registry import QDQRegistry

    fused = scheme.epilogue == "fused" and not scheme.quantized_outputs
    if not fused and scheme.activation_bits == 8:
        return {}
    return {"OpTypesToExcludeOutputQuantization": sorted(QDQRegistry)}


def _wide_ends(prepared: Path, scheme: Scheme) -> dict[str, Any]:
    """Where activations have 4 bits, give images and logits 8."""
    if scheme.activation_bits == 8:
        return {}
    from onnxruntime.quantization import QuantType

    signature = read_signature(prepared)
    kind = QuantType[_TYPES[scheme.activation.replace("4", "8")]]
    return {
        "TensorQuantOverrides": {name: [{"quant_type": kind}] for name in (signature.input_name, signature.output_name)}
    }


@contextmanager
def _quietly(failure: str) -> Iterator[None]:
    """Keep the quantizer's advice out of the user's terminal, and its errors to one line."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    except Exception as error:  # the quantizer's errors share no base class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StageError(f"quantize: {failure}: {reason}") from error
    finally:
        logger.setLevel(before)
