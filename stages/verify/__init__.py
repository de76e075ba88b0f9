"""Verification: attack teacher, student and engines, and draw up figures that distrust themselves."""

from .attack import Attacked, attack_subject, sample
from .config import VerifyConfig, default_workers
from .corrupted import CorruptionsConfig
from .function_subject import FunctionSubject
from .settle import settle
from .subject import EngineSubject, Subject, TorchSubject

__all__ = [
    "Attacked",
    "CorruptionsConfig",
    "EngineSubject",
    "FunctionSubject",
    "Subject",
    "TorchSubject",
    "VerifyConfig",
    "attack_subject",
    "default_workers",
    "sample",
    "settle",
]
