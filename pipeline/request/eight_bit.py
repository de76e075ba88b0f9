"""8-bit test images and ball of a verification request, for models that round what they are shown."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from ...core.errors import UsageError
from ...core.reading.published_paths import published_path
from ...stages.data import Dataset
from ...stages.eight_bit import STEPS, nearest
from ...stages.threat import ThreatModel


def on_eight_bits(data: Dataset, threat: ThreatModel, model: str) -> tuple[Dataset, ThreatModel, list[str]]:
    """Test images and ball as a model of 8-bit images sees them; candidates are put on the grid by the attacks.

    Args:
        data: the data set.
        threat: the ball.
        model: as the user calls it.

    Returns:
        The two, and what the user should know of it.

    Raises:
        UsageError: the ball holds no other such image.
    """
    whole = threat.of_radius(threat.geometry.on_grid(threat.eps))
    step = torch.zeros(1, *data.image_shape)
    step.view(-1)[0] = 1 / STEPS
    smallest = float(threat.geometry.size(step))
    if whole.eps < smallest * (1 - 1e-4):
        raise UsageError(f"--eps: {model} takes 8-bit images, whose smallest change is 1/255, got {threat.eps:g}")
    notes: list[str] = []
    shown = published_path(model)
    if not math.isclose(whole.eps, threat.eps, rel_tol=1e-4):
        steps = round(whole.eps * STEPS)
        notes.append(
            f"8-bit: {shown} takes 8-bit images; the ball of eps {threat.eps:g} holds those within {steps}/255"
        )
        threat = whole
    elif threat.norm != "Linf":
        notes.append(f"8-bit: {shown} takes 8-bit images; only 8-bit images inside the {threat.norm} ball are counted")
    test = data.test
    if isinstance(test.images, np.ndarray):  # files are of 8 bits
        rounded = nearest(test.images)
        if not np.array_equal(rounded, test.images):
            data = replace(data, test=replace(test, images=rounded))
            notes.append(f"8-bit: {shown} takes 8-bit images; the test images are rounded to these")
    return data, threat, notes
