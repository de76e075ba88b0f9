"""Vanishing gradients: whether there is any gradient near the images (gradient masking)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..evidence.counts import Counter
from .attack_warnings import in_question
from .base import Check, Finding, Row, Shard, Tally, checks

if TYPE_CHECKING:
    from torch import Tensor, nn

GONE = 0.1


@dataclass
class GradientCounts(Counter):
    """Gradients near the images.

    Attributes:
        gradients_asked: samples at which gradients were asked for.
        gradients_gone: those of them at which all were zero, or no numbers.
    """

    gradients_asked: int = 0
    gradients_gone: int = 0


class VanishingGradients(Check[GradientCounts]):
    """No gradient has anything but zeros, or is a number, near more than a tenth of the images.

    Said only where no logits behind the answers were attacked, and the answers are more than labels.
    """

    name = "vanishing-gradients"
    counts = GradientCounts
    rows = (Row("gradients asked for", "gradients_asked", "none there", "gradients_gone"),)
    rank = 90

    def count(self, shard: Shard) -> GradientCounts:
        """Count the samples near which no gradient has anything but zeros, or something that is no number."""
        import torch

        from ..subject.guarded import SamplesFailed

        chosen = shard.batch.where(shard.result.clean_correct)
        if not len(chosen) or not shard.opened.gradient_sources:
            return GradientCounts()
        random = np.random.default_rng(shard.context.config.seed)
        eps = shard.threat.geometry.along_signs(shard.threat.eps, tuple(chosen.images.shape[1:]))
        signs = torch.from_numpy(random.choice([-1.0, 1.0], chosen.images.shape).astype(np.float32))
        near = (chosen.images + 0.5 * eps * signs).clamp(0, 1)
        blind = np.ones(len(chosen), bool)
        with suppress(SamplesFailed):
            for model in shard.opened.gradient_sources.values():
                blind &= ~_has_slope(model, near, chosen.labels)
            return GradientCounts(len(chosen), int(blind.sum()))
        return GradientCounts()

    def judge(self, counts: GradientCounts, tally: Tally) -> Iterable[Finding]:
        """Say so where nothing else does."""
        if counts.gradients_gone > GONE * counts.gradients_asked and in_question(tally):
            yield Finding(
                self.name,
                f"no gradient has anything but zeros at {counts.gradients_gone} of {counts.gradients_asked} samples; "
                "the white box sees nothing there",
            )


def _has_slope(model: nn.Module, images: Tensor, labels: Tensor) -> np.ndarray:
    """Whether the gradient of the margin is finite and not zero, `[N]`."""
    import torch

    from ...margin import margin

    x = images.clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(margin(model(x), labels).sum(), x)
    sizes = slope.flatten(1).abs().amax(1)
    return (torch.isfinite(sizes) & (sizes > 0)).numpy()


checks.register(VanishingGradients.name)(VanishingGradients())
