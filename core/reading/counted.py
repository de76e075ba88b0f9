"""Count with its noun, singular or plural: `1 sample`, `2 samples`."""

from __future__ import annotations

from collections.abc import Sequence

_NAMES = 6


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A count of things as people write it.

    Args:
        number: how many.
        noun: one of them.
        plural: several of them, where an `s` does not make it.
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def class_words(names: Sequence[str]) -> str:
    """How many classes there are, and what the first are called."""
    return f"{len(names)} classes ({', '.join(names[:_NAMES])}{', ...' if len(names) > _NAMES else ''})"
