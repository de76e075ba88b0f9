"""The twin: from an ONNX graph to a torch module with gradients an attacker can use."""

from .backward import BACKWARD_MODES, BackwardMode
from .errors import NoTwin, UnsupportedOperator
from .graph import Twin, load_twin
from .registry import supported_operators

__all__ = [
    "BACKWARD_MODES",
    "BackwardMode",
    "NoTwin",
    "Twin",
    "UnsupportedOperator",
    "load_twin",
    "supported_operators",
]
