"""Operators that runtimes and other libraries write, lowered to standard ones. Importing this registers them all."""

from . import attention, classical, fused, quantized

__all__ = ["attention", "classical", "fused", "quantized"]
