"""AdaAD: adaptive adversarial distillation.

Source: Huang et al., "Boosting Accuracy and Robustness of Student Models via Adaptive Adversarial
Distillation", CVPR 2023; official code: github.com/boyellow/AdaAD (AT_helper.py, main.py).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ..inner import Objective
from ..losses import KLScale, distillation, kl
from ..method import Method, MethodConfig, Term, methods


class AdaADConfig(MethodConfig):
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
        """KL(T(x') || S(x')); the teacher is not detached."""
        return lambda x_adv: kl(self.guide(self.teacher(x_adv)), self.student(x_adv)).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The distillation loss at x' and at x."""
        config = self.config
        # Clean first. Where it has no weight (alpha = 1) the official code forwards it nonetheless, and
        # BatchNorm's running statistics see it; our default spares the time.
        natural = self._distil(x, "natural") if config.alpha < 1 or config.official else 0.0
        return config.alpha * self._distil(x_adv, "adversarial") + (1 - config.alpha) * natural

    def _distil(self, x: Tensor, term: Term) -> Tensor:
        prediction = self.learn(x)
        config = self.config
        return distillation(self.teach(x, term), prediction, temperature=config.temperature, scale=config.kl_scale)
