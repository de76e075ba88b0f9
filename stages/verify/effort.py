"""Attack effort: the standard settings of the attacks, and what is weaker than they are; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What the keys of `VerifyConfig` are by default, as far as more of them finds more.
STANDARD: Mapping[str, Any] = {
    "routes": ("replay", "whitebox", "probe", "square"),
    "attacks": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "backward": ("relu", "relu-ceiling", "smooth"),
    "square_queries": 5000,
    "hard_label_iterations": 30,
    "strong_restarts": 5,
}


def weaker(settings: Mapping[str, Any]) -> Iterator[str]:
    """The keys of settings that are weaker than the standard ones, or missing.

    Args:
        settings: of a run, as `VerifyConfig.of_attacks` tells them.
    """
    for key, least in STANDARD.items():
        value = settings.get(key)
        if isinstance(least, tuple):
            if not isinstance(value, (list, tuple)) or not {*least} <= {*value}:
                yield key
        elif not isinstance(value, (int, float)) or value < least:
            yield key
