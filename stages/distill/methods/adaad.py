"""AdaAD: adaptive adversarial distillation.

Source: Huang et al., "Boosting Accuracy and Robustness of Student Models via Adaptive Adversarial
Distillation", CVPR 2023; official code: github.com/boyellow/AdaAD (AT_helper.py, main.py).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ...section import Section
from ..inner import Objective
from ..losses import KLScale, kl, reduce_kl
from ..method import Method, methods


class AdaADConfig(Section):
    """Options of AdaAD.

    Attributes:
        alpha: weight of the adversarial term; 1 - alpha weighs the clean term.
        temperature: softens student and teacher in the outer loss, which is scaled by its square.
        kl_scale: `batchmean`, or `mean` as the official CIFAR-10 script does.
    """

    alpha: float = Field(default=1.0, ge=0, le=1)
    temperature: float = Field(default=1.0, gt=0)
    kl_scale: KLScale = "batchmean"


@methods.register("adaad")
class AdaAD(Method[AdaADConfig]):
    """Search x' where student and teacher disagree most, and teach the student there.

    inner: max over x' of KL(T(x') || S(x')), with gradients through the student and the teacher.
    outer: alpha KL(T(x') || S(x')) + (1 - alpha) KL(T(x) || S(x)).
    """

    Config = AdaADConfig

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """KL(T(x') || S(x')), summed; the teacher is not detached."""
        return lambda x_adv: kl(self.teacher(x_adv), self.student(x_adv)).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The distillation loss at x' and at x."""
        # The clean forward comes first and always, as in the official code: even where alpha is 1,
        # BatchNorm's running statistics see the clean batch and the adversarial one.
        clean, adversarial = self.student(x), self.student(x_adv)
        return self.config.alpha * self._distil(self.teach(x_adv), adversarial) + (
            1 - self.config.alpha
        ) * self._distil(self.teach(x), clean)

    def _distil(self, target: Tensor, prediction: Tensor) -> Tensor:
        temperature = self.config.temperature
        per_sample = kl(target, prediction, temperature=temperature) * temperature**2
        return reduce_kl(per_sample, prediction.shape[1], self.config.kl_scale)
