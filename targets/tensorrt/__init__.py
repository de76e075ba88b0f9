"""TensorRT 10.3 to 11, and TensorRT for RTX: an ONNX file becomes a plan, an executable for GPUs of one kind.

Both have the same Python API and share all code here but for how they are imported and what they can be asked for.
"""

from ..base import targets
from .rtx import TensorRtRtx
from .target import TensorRt

targets.register(TensorRt.name)(TensorRt())
targets.register(TensorRtRtx.name)(TensorRtRtx())
