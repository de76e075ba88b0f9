"""Model adapters: foreign ONNX classifiers as pixels in, logits out."""

from .adapt import Adapted, adapt
from .config import AdapterConfig

__all__ = ["Adapted", "AdapterConfig", "adapt"]
