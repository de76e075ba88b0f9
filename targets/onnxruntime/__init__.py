"""ONNX Runtime on CPU, CUDA and its TensorRT provider."""

from ..base import targets
from .target import OnnxRuntime

targets.register("onnxruntime")(OnnxRuntime())
