"""The fixed networks that the golden vectors were recorded on (data/README.md, section 1)."""

from __future__ import annotations

from torch import nn

WIDTHS = {"student": (8, 12), "peer": (8, 12), "teacher": (12, 16), "teacher_nat": (12, 16)}


def tiny(first: int, second: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, first, 3, stride=1, padding=1, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(second),
        nn.ReLU(),
        nn.Conv2d(second, second, 3, stride=2, padding=1, bias=True),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * 4, classes),
    )
