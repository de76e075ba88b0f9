"""Post-training quantization: the float ONNX file as a QDQ graph in the scheme of a target."""

from .calibration import CALIBRATION, calibrate
from .calibration_config import CalibrationConfig
from .calibration_images import calibration_sample, calibration_split
from .config import QuantizeConfig
from .precisions.base import MODEL
from .qdq import is_quantized, quantize_onnx
from .quantization import job_of, precision_name, quantize_student, scheme_of

__all__ = [
    "CALIBRATION",
    "MODEL",
    "CalibrationConfig",
    "QuantizeConfig",
    "calibrate",
    "calibration_sample",
    "calibration_split",
    "is_quantized",
    "job_of",
    "precision_name",
    "quantize_onnx",
    "quantize_student",
    "scheme_of",
]
