"""Teacher validation, on a model whose robustness is known, and what a recipe makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeproof.core.errors import StageError
from edgeproof.pipeline.commands.build import build
from edgeproof.pipeline.progress import Reporter
from edgeproof.stages.data import Dataset, Split
from edgeproof.stages.teacher.validation import TeacherValidation
from edgeproof.stages.threat import ThreatModel
from torch import Tensor, nn

from tests.conftest import DATA

ROOT = Path(__file__).parents[3]
THREAT = ThreatModel(eps=0.1)  # type: ignore[arg-type]


class Middle(nn.Module):
    """The brightness of the first pixel against a half: an image falls if it is within eps of it."""

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1)[:, 0]
        return torch.stack([0.5 - x, x - 0.5], 1)


def test_images_within_eps_of_the_border_fall(digits: Dataset):
    first = np.array([0.1, 0.3, 0.45, 0.55, 0.7, 0.95, 0.2, 0.45], np.float32)
    images = np.full((8, 1, 2, 2), 0.5, np.float32)
    images[:, 0, 0, 0] = first
    labels = (first > 0.5).astype(np.int64)
    labels[6] = 1  # answered wrongly
    data = replace(digits, validation=Split(images, labels, np.arange(8)))
    found = TeacherValidation.measured(Middle(), data, THREAT)
    assert (found.clean_accuracy, found.pgd_accuracy, found.samples) == (7 / 8, 4 / 8, 8)
    assert found.constant == 4 / 8
    assert found.warnings == []
    (warning,) = replace(found, pgd_accuracy=3 / 8).warnings
    assert warning.startswith("teacher-not-robust: 3 of 8 validation images right under PGD")


def test_a_recipe_refuses_a_teacher_below_its_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EDGEPROOF_STORE", raising=False)
    teacher = ("teacher.train=null", "teacher.model=null", f"teacher.checkpoint={DATA / 'student.safetensors'}")

    class Heard(Reporter):
        lines: list[str] = []  # noqa: RUF012

        def notice(self, line: str) -> None:
            self.lines.append(line)

    def made(*overrides: str) -> None:
        recipe = ROOT / "examples" / "digits.yaml"
        reporter = Heard(quiet=True)
        build(recipe, until="teacher", out=tmp_path / "run", overrides=[*teacher, *overrides], reporter=reporter)

    made("teacher.require_robust=0.5")
    assert Heard.lines == []
    with pytest.raises(
        StageError, match=r"^teacher.require_robust: 0.99 is asked for, and the teacher has 0\.\d{3} \("
    ):
        made("teacher.require_robust=0.99")
    made("threat.eps=0.9")
    (line,) = Heard.lines
    assert line.startswith("teacher: teacher-not-robust: ")
