"""Training history: weights of the best and of the last epoch, and a record of every epoch."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor, nn

from ...checkpoint import WEIGHTS, save_weights

LAST = "last.safetensors"
SUMMARY = "training.json"
METRICS = "metrics.csv"


@dataclass(frozen=True)
class Epoch:
    """What is recorded of one epoch.

    Attributes:
        epoch: from 1.
        loss: mean over the epoch's samples.
        clean_accuracy: fraction of the validation split.
        pgd_accuracy: fraction of the validation split that withstands PGD; compares epochs, is no figure of merit.
        learning_rate: at the end of the epoch.
        seconds: of training, validation left out.
        images_per_second: of training.
    """

    epoch: int
    loss: float
    clean_accuracy: float
    pgd_accuracy: float
    learning_rate: float = 0.0
    seconds: float = 0.0
    images_per_second: float = 0.0

    def repeatable(self) -> dict[str, float]:
        """What the same training gives again; times are not among it, `metrics.csv` has them."""
        return {name: value for name, value in asdict(self).items() if name not in ("seconds", "images_per_second")}


@dataclass
class TrainResult:
    """Weights of the best and of the last epoch, and the history that chose between them.

    Attributes:
        best: state dict of the best epoch, on the CPU.
        last: state dict of the last epoch, on the CPU.
        best_epoch: its place in the history, from 0.
        history: all epochs.
        selection: what was compared.
        stopped_early: whether `patience` ended the training.
    """

    best: dict[str, Tensor] = field(default_factory=dict)
    last: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    history: list[Epoch] = field(default_factory=list)
    selection: str = "PGD accuracy on the validation split"
    stopped_early: bool = False

    def save(self, folder: Path, *, model: str) -> None:
        """Write the best weights as `model.safetensors`, the last as `last.safetensors`, `training.json` and
        `metrics.csv`.

        Args:
            folder: where the files go.
            model: the registered model that the weights belong to.
        """
        save_weights(self.best, folder / WEIGHTS, model=model)
        save_weights(self.last, folder / LAST, model=model)
        self.save_history(folder)

    def save_history(self, folder: Path) -> None:
        """Write `training.json` and `metrics.csv`."""
        summary = {
            "selection": self.selection,
            "best": self.history[self.best_epoch].repeatable(),
            "last": self.history[-1].repeatable(),
            "stopped_early": self.stopped_early,
            "history": [epoch.repeatable() for epoch in self.history],
        }
        (folder / SUMMARY).write_text(json.dumps(summary, indent=1))
        with (folder / METRICS).open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(asdict(self.history[0])))
            writer.writeheader()
            writer.writerows(asdict(epoch) for epoch in self.history)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's state dict on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
