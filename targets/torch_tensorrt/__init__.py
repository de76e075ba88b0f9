"""Torch-TensorRT: the quantized graph compiled into one TensorRT engine."""

from ..base import targets
from .target import TorchTensorRT

targets.register("torch_tensorrt")(TorchTensorRT())
