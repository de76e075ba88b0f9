"""Failed attacks: those that raised, as the warnings of a shard tell them."""

from __future__ import annotations

from collections.abc import Iterable

from ....core.errors import raised

ATTACK_FAILED = "attack-failed"


def warning_of(name: str, error: Exception) -> str:
    """The warning of an attack that raised."""
    return f"{ATTACK_FAILED}: {name}: {raised(error)}"


def failures(warnings: Iterable[str]) -> set[str]:
    """Those of such attacks."""
    return {each for each in warnings if each.startswith(ATTACK_FAILED)}
