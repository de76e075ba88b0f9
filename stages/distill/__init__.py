"""Adversarial training and distillation: inner maximisation, methods, and one trainer for all of them."""

from .inner import InnerConfig, InnerMaximisation
from .method import Method
from .trainer import TrainConfig, TrainResult, train

__all__ = ["InnerConfig", "InnerMaximisation", "Method", "TrainConfig", "TrainResult", "train"]
