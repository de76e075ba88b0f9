"""Teacher validation: its accuracy on validation images, clean and under PGD, and whether it is robust at all."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...core.reading.json_text import read_json
from ..data import Dataset
from ..distill.training.selection import pgd_accuracy
from ..threat import ThreatModel
from .acceptance import validation_sample

VALIDATION = "validation.json"
STEPS = 20
NOT_ROBUST = "teacher-not-robust"


@dataclass(frozen=True)
class TeacherValidation:
    """What a teacher answers on validation images. PGD flatters; this is no robust accuracy.

    Attributes:
        clean_accuracy: fraction that is answered correctly.
        pgd_accuracy: fraction that is answered correctly under PGD as well.
        samples: how many images.
        constant: fraction that would be, attacked or not, if one class were always answered.
    """

    clean_accuracy: float
    pgd_accuracy: float
    samples: int
    constant: float

    @classmethod
    def of(cls, dataset: Dataset, clean: float, pgd: float, labels: np.ndarray | None = None) -> TeacherValidation:
        """Put together what was measured on the validation split, or on the images of these labels."""
        labels = dataset.validation.labels if labels is None else labels
        return cls(clean, pgd, len(labels), float(np.bincount(labels).max() / len(labels)))

    @classmethod
    def measured(cls, model: nn.Module, dataset: Dataset, threat: ThreatModel) -> TeacherValidation:
        """Attack a finished teacher by PGD-20, on a few hundred validation images."""
        split = validation_sample(dataset)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        figures = pgd_accuracy(model.to(device), split, threat, steps=STEPS, seed=0, device=device)
        model.to("cpu")
        return cls.of(dataset, *figures, split.labels)

    @classmethod
    def read(cls, path: Path) -> TeacherValidation:
        """Read what `save` wrote."""
        return cls(**read_json(path))

    def save(self, folder: Path) -> None:
        """Write `validation.json`."""
        (folder / VALIDATION).write_text(json.dumps(asdict(self), indent=1))

    @property
    def right(self) -> str:
        """How many are right under PGD, in words."""
        return f"{round(self.pgd_accuracy * self.samples)} of {self.samples} validation images right under PGD"

    @property
    def warnings(self) -> list[str]:
        """A warning where one class, always answered, would withstand more than the teacher does."""
        if self.pgd_accuracy >= self.constant:
            return []
        return [
            f"{NOT_ROBUST}: {self.right}, fewer than if it always gave one class ({self.constant:.3f}); a plainly "
            "trained network has no robustness that a student could learn"
        ]
