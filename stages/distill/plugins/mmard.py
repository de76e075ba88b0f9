"""MMARD, reconstructed: the teacher's robust predictions in the search, triangles of predictions in the loss.

Source: "MMARD: Improving the Min-Max Optimization Process in Adversarial Robustness Distillation" (arXiv 2503.06559).
THIS IS A RECONSTRUCTION. The abstract says what the two halves do; the paper's formulas, weights and code were not
available. The formulas below are ours, their weights are options, and results under this name are results of the
reconstruction. There are no golden vectors.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ....core.config import Config
from ..inner import Objective
from ..losses import jensen_shannon, kl
from ..plugin import Plugin, plugins


class MmardConfig(Config):
    """Options of the reconstruction.

    Attributes:
        inner: use the inner half.
        outer: use the outer half.
        robust_prediction: g, the share of KL(T(x') || S(x')) in the search; the base objective keeps 1 - g.
        boundary: l, the weight of KL(T(x) || T(x')), which draws x' towards the teacher's decision boundary.
        triangle: weight of the outer half.
    """

    inner: bool = True
    outer: bool = True
    robust_prediction: float = Field(default=0.5, ge=0, le=1)
    boundary: float = Field(default=0.5, ge=0)
    triangle: float = Field(default=1.0, ge=0)


@plugins.register("mmard")
class Mmard(Plugin[MmardConfig]):
    """Both halves of the reconstruction, on top of any distillation method.

    inner: (1 - g) base(x') + g KL(T(x') || S(x')) + l KL(T(x) || T(x')).
    outer: base + triangle * [(e(Sx, Sx') - e(Tx, Tx'))^2 + (e(Sx', Tx) - e(Tx', Tx))^2 + e(Sx, Tx)^2], the edges of
    the triangles {S(x), S(x'), T(x)} and {T(x), T(x'), T(x)}; e is the Jensen-Shannon divergence.
    """

    name = "mmard"
    Config = MmardConfig

    def inner(self, objective: Objective, x: Tensor, y: Tensor) -> Objective:
        """The objective with the teacher's robust predictions; gradients flow through the teacher."""
        if not self.config.inner:
            return objective
        method, share, boundary = self.method, self.config.robust_prediction, self.config.boundary
        clean = method.teach(x)

        def drawn(x_adv: Tensor) -> Tensor:
            base, student = objective(x_adv), method.student(x_adv)
            teacher = method.guide(method.teacher(x_adv))
            return (1 - share) * base + share * kl(teacher, student).sum() + boundary * kl(clean, teacher).sum()

        return drawn

    def outer(self, losses: Tensor, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The base method's losses plus the triangles' difference; the teacher is fixed."""
        if not self.config.outer:
            return losses
        method = self.method
        teacher, teacher_adv = method.teach(x, "natural"), method.teach(x_adv)
        adversarial, clean = method.learn(x_adv), method.learn(x)
        robust_edge = jensen_shannon(teacher, teacher_adv)
        triangle = (
            (jensen_shannon(clean, adversarial) - robust_edge).square()
            + (jensen_shannon(adversarial, teacher) - robust_edge).square()
            + jensen_shannon(clean, teacher).square()
        )
        return losses + self.config.triangle * triangle
