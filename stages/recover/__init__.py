"""Quantization-aware adversarial distillation into the ONNX file that ships (stage `recover`)."""

from .config import RecoverConfig
from .recovery import Recovery, recover_onnx
from .trainable import TrainableTwin
from .write_back import write_back

__all__ = ["RecoverConfig", "Recovery", "TrainableTwin", "recover_onnx", "write_back"]
