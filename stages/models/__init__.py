"""Models: pixels in, logits out, any normalisation inside."""

from .base import ModelBuilder, ModelName, build_model, models, package_behind

__all__ = ["ModelBuilder", "ModelName", "build_model", "models", "package_behind"]
