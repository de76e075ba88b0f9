"""ExecuTorch with XNNPACK: a `.pte` lowered from the same ONNX graph."""

from ..base import targets
from .target import ExecuTorch

targets.register("executorch")(ExecuTorch())
