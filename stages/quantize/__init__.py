"""Stage `quantize`: the float ONNX file as a QDQ graph in the scheme of a target."""

from .config import CalibrationConfig, QuantizeConfig
from .qdq import is_quantized, quantize_onnx
from .quantization import CALIBRATION, MODEL, calibrate, precision_name, quantize_student, scheme_of
from .sample import calibration_sample, calibration_split

__all__ = [
    "CALIBRATION",
    "MODEL",
    "CalibrationConfig",
    "QuantizeConfig",
    "calibrate",
    "calibration_sample",
    "calibration_split",
    "is_quantized",
    "precision_name",
    "quantize_onnx",
    "quantize_student",
    "scheme_of",
]
