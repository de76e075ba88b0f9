"""OpenVINO on CPU, GPU and NPU."""

from ..base import targets
from .target import OpenVino

targets.register("openvino")(OpenVino())
