"""Verification: attack teacher, student and engines, and draw up figures that distrust themselves.

The names are imported on first use, so that the checks' words, which the report needs, do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attack import Attacked, attack_subject, sample
    from .config import VerifyConfig, default_workers
    from .evaluation import Evaluation
    from .measures.corruption_accuracy import CorruptionsConfig
    from .shards.workforce import Workforce
    from .subject.function_subject import FunctionSubject
    from .subject.module_subject import ModuleSubject
    from .subject.subject import EngineSubject, Subject, TorchSubject

__all__ = [
    "Attacked",
    "CorruptionsConfig",
    "EngineSubject",
    "Evaluation",
    "FunctionSubject",
    "ModuleSubject",
    "Subject",
    "TorchSubject",
    "VerifyConfig",
    "Workforce",
    "attack_subject",
    "default_workers",
    "sample",
]

_HOMES = {
    "attack": ("Attacked", "attack_subject", "sample"),
    "config": ("VerifyConfig", "default_workers"),
    "evaluation": ("Evaluation",),
    "measures.corruption_accuracy": ("CorruptionsConfig",),
    "shards.workforce": ("Workforce",),
    "subject.function_subject": ("FunctionSubject",),
    "subject.module_subject": ("ModuleSubject",),
    "subject.subject": ("EngineSubject", "Subject", "TorchSubject"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
