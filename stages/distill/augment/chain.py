"""Augmentation chain as a recipe lists it: names in their order, some with a number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema
from torch import Tensor

from ....core.config import Config
from ....core.errors import UsageError
from .operation import Operation, operations


def _parts(entry: str | dict[str, float]) -> tuple[str, float | None]:
    if isinstance(entry, str):
        return entry, None
    ((name, value),) = entry.items()
    return name, value


def _known(entry: Any) -> str | dict[str, float]:
    """Return a recipe's entry if it is one; ValueError says what is wrong with it, in one line."""
    if not isinstance(entry, str) and not (isinstance(entry, dict) and len(entry) == 1):
        raise ValueError(f"must be a name, or one name with its number as in {{shift: 4}}, got {entry!r}")
    name, value = _parts(entry)
    operations.check(str(name))
    if isinstance(entry, str):
        return entry
    try:
        return {name: operations[name].check(value)}
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


# `flip`, or `{shift: 4}`. One validator instead of a union, whose errors would name both of its branches.
Entry = Annotated[
    str | dict[str, int | float],
    PlainValidator(_known),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "additionalProperties": {"type": "number"}, "minProperties": 1, "maxProperties": 1},
            ]
        }
    ),
]

# `[shift, flip, {cutout: 8}]`: applied in this order.
Augmentations = tuple[Entry, ...]


class LateAugment(Config):
    """Augmentations that replace the others late in the training, against robust overfitting.

    Attributes:
        start: the fraction of the epochs after which they do.
        operations: the augmentations, in their order.
    """

    start: float = Field(default=0.5, ge=0, lt=1)
    operations: Augmentations


@dataclass(frozen=True)
class Augmentation:
    """Augmentations in their order, ready to be applied; `compose` makes one.

    Attributes:
        steps: of each, its name, what it does, and the number that was given.
    """

    steps: tuple[tuple[str, Operation, float | None], ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Return augmented images; without any augmentation, the images themselves.

        Args:
            images: in [0, 1], `[N, C, H, W]`.

        Raises:
            UsageError: as `check`.
        """
        for operation, settled in self._settled(min(images.shape[2:])):
            images = operation.apply(images, *settled)
        return images

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """See, before a training begins, that the numbers suit images of shape (C, H, W).

        Raises:
            UsageError: a number of pixels is not smaller than the image's shorter side.
        """
        self._settled(min(image_shape[1:]))

    def _settled(self, side: int) -> list[tuple[Operation, tuple[float, ...]]]:
        settled = []
        for name, operation, value in self.steps:
            try:
                settled.append((operation, operation.settle(value, side)))
            except ValueError as error:
                raise UsageError(f"{name}: {error}") from None
        return settled


def compose(entries: Iterable[str | dict[str, float]]) -> Augmentation:
    """Return the function of images that applies the entries in their order.

    Args:
        entries: as in a recipe: `["shift", {"cutout": 8}]`; a number that is left out follows from the images' size.

    Raises:
        UsageError: an entry has an unknown name.
    """
    return Augmentation(tuple((name, operations[name], value) for name, value in map(_parts, entries)))
