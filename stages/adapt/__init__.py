"""Model adapters: foreign ONNX classifiers as pixels in, logits out."""

from .adapt import Adapted, adapt, adapt_to_itself
from .config import AdapterConfig, Layout
from .images import FLATTENED, sizes_in
from .logits import columns_of
from .own_classes import noted_classes
from .rounds import reads_eight_bits

__all__ = [
    "FLATTENED",
    "Adapted",
    "AdapterConfig",
    "Layout",
    "adapt",
    "adapt_to_itself",
    "columns_of",
    "noted_classes",
    "reads_eight_bits",
    "sizes_in",
]
