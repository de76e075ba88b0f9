"""Pruning record as JSON: enough to build the pruned architecture again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ...core.config import Config, what_is_wrong
from ...core.errors import UsageError, reason_of
from ...core.reading.json_text import read_json

PRUNING = "pruning.json"


class Cut(Config):
    """What one layer lost, in the numbering of the registered model, rising.

    Attributes:
        outputs: output channels; of a depthwise convolution and of a BatchNorm the inputs are the same ones.
        inputs: input channels, or input features of a linear layer.
    """

    outputs: tuple[int, ...] = ()
    inputs: tuple[int, ...] = ()


# By the layer's dotted name; what was not touched is not there.
Cuts = Mapping[str, Cut]


class Size(Config):
    """How large a network is.

    Attributes:
        parameters: trainable ones.
        multiply_adds: of its convolutions and linear layers, for one image.
    """

    parameters: int
    multiply_adds: int


class Accuracy(Config):
    """Fractions of the validation split; PGD compares networks, and is no figure of merit."""

    clean: float
    pgd: float


class Round(Config):
    """One round of pruning.

    Attributes:
        ratio: the fraction of channels that was to be gone after it.
        channels: channels that were left of those that can go.
        size: of the network after it.
        pruned: its accuracy right after pruning.
        fine_tuned: the accuracy of the best epoch of the fine-tuning; None before there is one.
    """

    ratio: float
    channels: int
    size: Size
    pruned: Accuracy
    fine_tuned: Accuracy | None = None


class PruningRecord(Config):
    """`pruning.json`.

    Attributes:
        model: the registered model that was pruned.
        image_shape: channels, height, width of its images.
        classes: its number of logits.
        seed: of sample, attack and fine-tuning.
        config: the settings.
        channels: channels that can go, coupled ones counted once, before.
        before: size before.
        after: size after.
        accuracy_before: of the student as it came.
        rounds: what every round did; the last one's figures are those of the weights beside this file.
        whole: layers whose outputs could not go, each with the reason.
        layers: what was removed.
    """

    schema_version: Literal[1] = 1
    model: str
    image_shape: tuple[int, int, int]
    classes: int
    seed: int
    config: dict[str, Any]
    channels: int
    before: Size
    after: Size
    accuracy_before: Accuracy
    rounds: tuple[Round, ...]
    whole: dict[str, str]
    layers: dict[str, Cut]

    def save(self, path: Path) -> None:
        """Write it, one key a line."""
        lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in self.model_dump(mode="json").items())
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def read_pruning(path: Path) -> PruningRecord:
    """Read `pruning.json`.

    Raises:
        UsageError: the file is missing, or is no such record; says what is wrong.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        return PruningRecord.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors()[0]
        at = ".".join(map(str, problem["loc"]))
        raise UsageError(f"{path}: not a valid pruning record ({at and at + ': '}{what_is_wrong(problem)})") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a valid pruning record ({reason_of(error)})") from None


def read_pruning_of(path: Path, model: str, image_shape: tuple[int, int, int], classes: int) -> PruningRecord:
    """Read the `pruning.json` of one model.

    Raises:
        UsageError: the file is missing, is no such record, or is of another model; says of which.
    """
    record = read_pruning(path)
    found, asked = (
        f"{name!r} for {'×'.join(map(str, shape))} images and {count} classes"
        for name, shape, count in ((record.model, record.image_shape, record.classes), (model, image_shape, classes))
    )
    if found != asked:
        raise UsageError(f"{path}: is of model {found}, not of {asked}")
    return record


def together(cuts: Iterable[Cuts]) -> dict[str, Cut]:
    """Take several cuts of one network at once; all are in its numbering."""
    found: dict[str, Cut] = {}
    for each in cuts:
        for name, cut in each.items():
            other = found.get(name, Cut())
            found[name] = Cut(
                outputs=tuple(sorted({*cut.outputs, *other.outputs})),
                inputs=tuple(sorted({*cut.inputs, *other.inputs})),
            )
    return found


def joined(first: Cuts, then: Cuts) -> dict[str, Cut]:
    """Join two prunings of one model, of which the second counts what the first left.

    Args:
        first: in the registered model's numbering.
        then: in the numbering of the network that `first` left.
    """
    found = dict(first)
    for name, cut in then.items():
        before = found.get(name, Cut())
        found[name] = Cut(outputs=_original(cut.outputs, before.outputs), inputs=_original(cut.inputs, before.inputs))
    return found


def _original(indices: Collection[int], removed: Collection[int]) -> tuple[int, ...]:
    gone = set(removed)
    if not indices:
        return tuple(sorted(gone))
    left = [index for index in range(max(indices) + len(gone) + 1) if index not in gone]
    return tuple(sorted(gone | {left[index] for index in indices}))
