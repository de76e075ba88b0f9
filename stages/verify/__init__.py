"""Verification: attack teacher, student and engines, and draw up figures that distrust themselves."""

from .aggregate import aggregate
from .attack import Attacked, attack_subject, sample
from .config import VerifyConfig, default_workers
from .measures.corruption_accuracy import CorruptionsConfig
from .subject.function_subject import FunctionSubject
from .subject.subject import EngineSubject, Subject, TorchSubject

__all__ = [
    "Attacked",
    "CorruptionsConfig",
    "EngineSubject",
    "FunctionSubject",
    "Subject",
    "TorchSubject",
    "VerifyConfig",
    "aggregate",
    "attack_subject",
    "default_workers",
    "sample",
]
