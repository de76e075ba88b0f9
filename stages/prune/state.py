"""Pruning checkpoint: a pruning's whole state between its steps, from which a killed one goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..distill import Epoch, TrainResult
from ..distill.training.snapshot import drop_snapshot, read_snapshot, write_snapshot
from .record import Accuracy, Cut, Cuts, Round, Size

# The training has its own snapshot, beside this folder.
_FOLDER = "pruning"


@dataclass(frozen=True)
class State:
    """How far a pruning is.

    Attributes:
        weights: of the network as it is now, on the CPU.
        cuts: what was removed from the registered model.
        before: the size of the student as it came.
        accuracy_before: its accuracy.
        initial: channels that could go at first, coupled ones counted once, by the name of their first layer.
        whole: layers whose outputs cannot go, and why.
        turn: the current round, from 1; 0 before the first.
        trained: whether the current round's fine-tuning is over.
        rounds: rounds that removed something.
        result: the epochs of all rounds, numbered through; without weights.
    """

    weights: Mapping[str, Tensor]
    cuts: Cuts
    before: Size
    accuracy_before: Accuracy
    initial: Mapping[str, int] = field(default_factory=dict)
    whole: Mapping[str, str] = field(default_factory=dict)
    turn: int = 0
    trained: bool = True
    rounds: tuple[Round, ...] = ()
    result: TrainResult = field(default_factory=TrainResult)

    def plain(self) -> dict[str, Any]:
        """Return it as tensors, numbers, strings, and lists and dicts of them."""
        return {
            "weights": dict(self.weights),
            "cuts": {name: cut.model_dump(mode="json") for name, cut in self.cuts.items()},
            "before": self.before.model_dump(),
            "accuracy_before": self.accuracy_before.model_dump(),
            "initial": dict(self.initial),
            "whole": dict(self.whole),
            "turn": self.turn,
            "trained": self.trained,
            "rounds": [each.model_dump() for each in self.rounds],
            "result": asdict(self.result),
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> State:
        """Take up what `plain` returned."""
        result = {**plain["result"], "history": [Epoch(**epoch) for epoch in plain["result"]["history"]]}
        return cls(
            **{
                **plain,
                "cuts": {name: Cut.model_validate(cut) for name, cut in plain["cuts"].items()},
                "before": Size.model_validate(plain["before"]),
                "accuracy_before": Accuracy.model_validate(plain["accuracy_before"]),
                "rounds": tuple(Round.model_validate(each) for each in plain["rounds"]),
                "result": TrainResult(**result),
            }
        )


def write_state(folder: Path, state: State) -> None:
    """Write the state so that a kill at any moment leaves the old one or the new one, whole."""
    (folder / _FOLDER).mkdir(exist_ok=True)
    write_snapshot(folder / _FOLDER, state.plain())


def read_state(folder: Path) -> State | None:
    """Return what `write_state` wrote, or None if there is nothing.

    Raises:
        StageError: the file is damaged.
    """
    plain = read_snapshot(folder / _FOLDER)
    return None if plain is None else State.of(plain)


def drop_state(folder: Path) -> None:
    """Remove the state of a finished pruning."""
    if (folder / _FOLDER).is_dir():
        drop_snapshot(folder / _FOLDER)
        (folder / _FOLDER).rmdir()
