"""CGARD: a second perturbation, of the teacher's input, guides the student.

Source: the paper's text as quoted in our notes (CGARD, 2026): x'_S and x''_T jointly maximise a symmetric divergence;
x''_T goes back where the teacher's cross-entropy rises; the student learns 0.3 KL(T(x''_T) || S(x'_S)) + 0.7
KL(T(x'_S) || S(x'_S)). No code was at hand, so there are no golden vectors: what the text leaves open (that both
start at the same point, that going back means to x, that the rise is measured against T's loss at x) is our reading.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from ..inner import InnerMaximisation, Objective
from ..losses import cross_entropy, kl
from ..method import Method, MethodConfig, methods


class CgardConfig(MethodConfig):
    """Options of CGARD: `guide_weight` weighs T(x''_T); what is left of 1 weighs T(x'_S)."""

    guide_weight: float = Field(default=0.3, ge=0, le=1)


@methods.register("cgard")
class Cgard(Method[CgardConfig]):
    """Student and teacher are driven apart from both sides; the teacher's own point must stay right.

    inner: max over x'_S, x''_T of KL(T(x''_T) || S(x'_S)) + KL(S(x'_S) || T(x''_T)).
    outer: 0.3 KL(T(x''_T) || S(x'_S)) + 0.7 KL(T(x'_S) || S(x'_S)).
    """

    Config = CgardConfig
    _guide: Tensor

    def search(self, x: Tensor, y: Tensor, maximisation: InnerMaximisation, start: Tensor | None) -> Tensor:
        """Find both points by one maximisation over the doubled batch; return x'_S and keep x''_T."""
        with torch.no_grad():
            limit = cross_entropy(self.teacher(x), y)

        def back_where_wrong(both: Tensor) -> Tensor:
            student_point, teacher_point = both.chunk(2)
            with torch.no_grad():
                worse = cross_entropy(self.teacher(teacher_point), y) > limit
            return torch.cat([student_point, torch.where(worse[:, None, None, None], x, teacher_point)])

        objective = self.modified(x, y)

        def jointly(both: Tensor) -> Tensor:
            student_point, self._guide = both.chunk(2)
            return objective(student_point)

        first = maximisation.initial(x) if start is None else start
        twice = torch.cat([first, first])
        both = maximisation.run(jointly, torch.cat([x, x]), start=twice, after=back_where_wrong)
        x_adv, self._guide = (half.contiguous() for half in both.chunk(2))
        return x_adv

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """The symmetric divergence of S at the student's point and T at its own."""

        def objective(x_adv: Tensor) -> Tensor:
            student, teacher = self.student(x_adv), self.guide(self.teacher(self._guide))
            return (kl(teacher, student) + kl(student, teacher)).sum()

        return objective

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The two teacher's answers at x'_S."""
        weight, prediction = self.config.guide_weight, self.learn(x_adv)
        return weight * kl(self.teach(self._guide), prediction) + (1 - weight) * kl(self.teach(x_adv), prediction)
