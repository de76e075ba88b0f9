"""PeerAiD: a peer, trained from scratch on the student's adversarial examples, is the teacher.

Source: Jung et al., "PeerAiD: Improving Adversarial Distillation from a Specialized Peer Tutor", CVPR 2024
(arXiv 2403.06668); official code: github.com/jaewonalive/PeerAiD.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from pydantic import Field
from torch import Tensor

from ..inner import Objective
from ..losses import KLScale, cross_entropy, distillation, kl
from ..method import Companion, Method, MethodConfig, methods


class PeerAidConfig(MethodConfig):
    """Options of PeerAiD; the defaults are the CIFAR-10 script's.

    Attributes:
        temperature: softens both divergences of the student's loss.
        label_weight: weight of the labels in the student's loss (lambda_1).
        peer_weight: weight of the peer (lambda_2).
        consistency_weight: weight of the student's own clean answer (lambda_3).
        peer_label_weight: weight of the labels in the peer's loss (gamma_1).
        peer_student_weight: weight of the student's answer in the peer's loss (gamma_2; 1 for CIFAR-100).
        kl_scale: what the weights are meant for: `mean`, as in the authors' script.
    """

    temperature: float = Field(default=5.0, gt=0)
    label_weight: float = Field(default=0.0, ge=0)
    peer_weight: float = Field(default=1.0, ge=0)
    consistency_weight: float = Field(default=1.0, ge=0)
    peer_label_weight: float = Field(default=1.0, ge=0)
    peer_student_weight: float = Field(default=0.1, ge=0)
    kl_scale: KLScale = "mean"


@methods.register("peeraid")
class PeerAid(Method[PeerAidConfig]):
    """Learn from a peer P who learns, at the same time, to withstand the attacks on the student.

    inner: max over x' of KL(P(x) || S(x')), P(x) computed once.
    outer, student: l_1 CE(S(x'), y) + t^2 [l_2 KL_t(P(x') || S(x')) + l_3 KL_t(S(x) || S(x'))].
    outer, peer: g_1 CE(P(x'), y) + g_2 KL(S(x') || P(x')).
    """

    Config = PeerAidConfig

    @classmethod
    def needs(cls, config: PeerAidConfig) -> Collection[Companion]:
        """A peer, and no teacher."""
        return ("peer",)

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """KL(P(x) || S(x'))."""
        with torch.no_grad():
            target = self.guide(self.peer(x))
        return lambda x_adv: kl(target, self.student(x_adv)).sum()

    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Both networks' losses; S(x) is not detached in the student's."""
        config = self.config
        tutor = self.peer(x_adv)
        # In the authors' code the peer's loss also moves the student (its answer, from a forward of its own,
        # is not detached). The paper has the peer learn from the student, so by default it is a fixed target.
        seen = self.student(x_adv) if config.official else self.learn(x_adv).detach()
        peer = config.peer_label_weight * cross_entropy(tutor, y)
        peer = peer + config.peer_student_weight * kl(seen, tutor, scale=config.kl_scale)

        adversarial = self.learn(x_adv)
        student = config.label_weight * cross_entropy(adversarial, y)
        for weight, target in (
            (config.peer_weight, self.guide(tutor.detach())),
            (config.consistency_weight, self.learn(x)),
        ):
            student = student + weight * distillation(
                target, adversarial, temperature=config.temperature, scale=config.kl_scale
            )
        return peer + student
