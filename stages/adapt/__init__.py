"""Model adapters: foreign ONNX classifiers as pixels in, logits out."""

from .adapt import Adapted, adapt, adapt_to_itself
from .config import AdapterConfig
from .logits import columns_of

__all__ = ["Adapted", "AdapterConfig", "adapt", "adapt_to_itself", "columns_of"]
