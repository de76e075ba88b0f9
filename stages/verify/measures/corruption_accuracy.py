"""Corruption accuracy: accuracy under common corruptions, which cameras meet without any attacker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from ....core.config import Config
from ....core.errors import UsageError
from ....core.registry import nearest
from ...data import Split
from ...statistics.estimate import Estimate
from ...statistics.proportions import clopper_pearson
from ..subject.subject import BATCH, Predict, is_correct
from .corruptions import CORRUPTIONS, SEVERITIES, constants_for, corrupt

CONSTANTS = {"small": "CIFAR-10-C", "large": "ImageNet-C"}


def _known(name: str) -> str:
    if name not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {name!r}{nearest(name, CORRUPTIONS)} (known: {', '.join(CORRUPTIONS)})")
    return name


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is there twice")
    return values


CorruptionName = Annotated[str, AfterValidator(_known)]
Severity = Annotated[int, Field(ge=min(SEVERITIES), le=max(SEVERITIES))]


class CorruptionsConfig(Config):
    """Which common corruptions the samples are shown under; see `corruptions.py`.

    Attributes:
        names: the corruptions.
        severities: 1 (mild) to 5, whose constants are those of CIFAR-10-C for images of up to 64 pixels, of ImageNet-C
            for larger ones.
    """

    names: Annotated[tuple[CorruptionName, ...], AfterValidator(_once)] = Field(
        default=tuple(CORRUPTIONS), min_length=1
    )
    severities: Annotated[tuple[Severity, ...], AfterValidator(_once)] = Field(default=SEVERITIES, min_length=1)

    def check(self, channels: int) -> None:
        """See, before anything is attacked, that the corruptions suit images of so many channels.

        Raises:
            UsageError: one is of gray or colour pictures only.
        """
        unfit = [name for name in self.names if CORRUPTIONS[name].as_picture and channels not in (1, 3)]
        if unfit:
            fit = [name for name in CORRUPTIONS if not CORRUPTIONS[name].as_picture]
            raise UsageError(
                f"corruptions: {', '.join(unfit)}: for images of 1 or 3 channels, these have {channels} "
                f"(for any: {', '.join(fit)})"
            )


@dataclass(frozen=True)
class CorruptionAccuracy:
    """Accuracy of one subject under common corruptions.

    Attributes:
        mean: over corruptions and severities; its Clopper-Pearson interval over the draw of the samples, where one
            that is right under half of the corruptions counts half (wide rather than narrow: shares of samples vary no
            more than whole ones).
        severities: as they were shown.
        constants: whose.
        accuracy: of every corruption at the severities, in their order.
    """

    mean: Estimate
    severities: tuple[int, ...]
    constants: str
    accuracy: Mapping[str, tuple[float, ...]]

    def as_json(self) -> dict[str, Any]:
        """`{corrupted_accuracy, corrupted_accuracy_ci, corruptions: {severities, constants, accuracy}}`."""
        accuracy = {name: list(values) for name, values in self.accuracy.items()}
        about = {"severities": list(self.severities), "constants": self.constants, "accuracy": accuracy}
        return {**self.mean.as_json("corrupted_accuracy"), "corruptions": about}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CorruptionAccuracy | None:
        """Read what `as_json` wrote; None where nothing was shown corrupted."""
        mean, about = Estimate.from_json(data, "corrupted_accuracy"), data.get("corruptions")
        if mean is None or about is None:
            return None
        accuracy = {name: tuple(values) for name, values in about["accuracy"].items()}
        return cls(mean, tuple(about["severities"]), about["constants"], accuracy)


def corrupted_accuracies(
    predictors: Mapping[str, Predict], split: Split, config: CorruptionsConfig
) -> dict[str, CorruptionAccuracy]:
    """Measure every subject on the same corrupted samples.

    Args:
        predictors: the subjects' forwards.
        split: the samples.
        config: which corruptions.
    """
    correct = {name: np.zeros((len(config.names), len(config.severities), len(split)), bool) for name in predictors}
    for first in range(0, len(split), BATCH):
        rows = slice(first, first + BATCH)
        batch = split.take(rows)
        for kind, corruption in enumerate(config.names):
            for degree, severity in enumerate(config.severities):
                images = corrupt(batch.images, batch.index, corruption, severity)
                for name, predict in predictors.items():
                    correct[name][kind, degree, rows] = is_correct(predict(images), batch.labels)
    constants = CONSTANTS[constants_for(split.images.shape[2:])]
    return {name: _record(found, config, constants) for name, found in correct.items()}


def _record(correct: np.ndarray, config: CorruptionsConfig, constants: str) -> CorruptionAccuracy:
    by_sample = correct.mean(axis=(0, 1))
    mean = Estimate(float(by_sample.mean()), clopper_pearson(float(by_sample.sum()), len(by_sample)))
    by_severity = map(tuple, correct.mean(axis=2).tolist())
    return CorruptionAccuracy(mean, config.severities, constants, dict(zip(config.names, by_severity, strict=True)))
