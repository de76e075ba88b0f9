"""Models: pixels in, logits out, any normalisation inside."""

from .base import ModelBuilder, build_model, models

__all__ = ["ModelBuilder", "build_model", "models"]
