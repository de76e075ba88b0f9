"""Augmentation: a function of a batch and the one number that a recipe may give it; and the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from ....core.registry import Registry, summary_of

FunctionT = TypeVar("FunctionT", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class Pixels:
    """A number of pixels, smaller than the image.

    Attributes:
        default: the number for images whose shorter side is given.
        least: the smallest number that makes sense.
    """

    default: Callable[[int], int]
    least: int = 1

    def check(self, value: Any) -> int:
        """Return a recipe's value; ValueError if it is none."""
        if isinstance(value, bool) or not isinstance(value, int) or value < self.least:
            raise ValueError(f"must be a whole number of pixels, at least {self.least}, got {value!r}")
        return value

    def settle(self, value: Any, side: int) -> int:
        """Return the number for images with this shorter side; ValueError if it is not smaller than the side."""
        pixels = self.default(side) if value is None else value
        if pixels >= side:
            raise ValueError(f"{pixels} is too large for images with a side of {side} pixels")
        return pixels


@dataclass(frozen=True)
class Probability:
    """The probability with which each image is changed."""

    default: float

    def check(self, value: Any) -> float:
        """Return a recipe's value; ValueError if it is none."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ValueError(f"must be a probability in [0, 1], got {value!r}")
        return value

    def settle(self, value: Any, side: int) -> float:
        """Return the probability, the same for images of every size."""
        return self.default if value is None else value


@dataclass(frozen=True)
class Operation:
    """A named augmentation.

    Attributes:
        apply: maps images, and the parameter's value if there is a parameter, to new images.
        parameter: the number that a recipe may set.
    """

    apply: Callable[..., Tensor]
    parameter: Pixels | Probability | None = None

    def check(self, value: Any) -> float:
        """Return a recipe's value of the parameter; ValueError if it is none."""
        if self.parameter is None:
            raise ValueError("there is nothing to set; write the name alone")
        return self.parameter.check(value)

    def settle(self, value: Any, side: int) -> tuple[float, ...]:
        """Return what `apply` takes after the images if their shorter side is `side`; ValueError if too large."""
        return () if self.parameter is None else (self.parameter.settle(value, side),)


operations: Registry[Operation] = Registry(
    "augmentation", "edgeproof.stages.distill.augment", "edgeproof.augmentations"
)


def operation(name: str, parameter: Pixels | Probability | None = None) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator that files a function as an operation, and returns it as it is."""

    def file_under(function: FunctionT) -> FunctionT:
        operations.register(name, summary=summary_of(function))(Operation(function, parameter))
        return function

    return file_under
