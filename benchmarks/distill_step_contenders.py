"""The training steps that `benchmarks/distill_step.py` compares, and the networks that they train."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from edgeproof.stages.data import DataConfig, load_dataset
from edgeproof.stages.distill import InnerMaximisation
from edgeproof.stages.distill.folded import FoldedCopy
from edgeproof.stages.distill.inner import Objective
from edgeproof.stages.distill.method import Method
from edgeproof.stages.distill.methods.adaad import AdaAD, AdaADConfig
from edgeproof.stages.distill.methods.saad import Saad, SaadConfig
from edgeproof.stages.kernels import StridedDepthwiseConv2d, ThinConv2d, spare_slow_gradients
from edgeproof.stages.models import build_model
from edgeproof.stages.norms.base import norms
from torch import Tensor, nn

EPS, STEP, STEPS = 8 / 255, 2 / 255, 10


@dataclass(frozen=True)
class Pair:
    """Two networks, the images they see, and batch and rounds that end in minutes on two cores."""

    teacher: str
    student: str
    image_shape: tuple[int, int, int]
    batch: int
    rounds: int
    preparation: int


PAIRS = {
    "cnn28": Pair("cnn28_wide", "cnn28_small", (1, 28, 28), 128, 15, 100),
    "mobilenet": Pair("resnet18", "mobilenet_v2", (3, 32, 32), 32, 4, 30),
    "wrn": Pair("wrn_34_10", "resnet18", (3, 32, 32), 4, 3, 15),
}


@dataclass(frozen=True)
class Optimisations:
    """What a step of the library does beyond a plain one; every field is one row of the table."""

    skip_clean: bool = True  # the clean forward that alpha = 1 does not need
    fold: bool = True
    channels_last: bool = True
    bfloat16_inner: bool = True
    own_kernels: bool = True
    bfloat16_outer: bool = True
    compiled: bool = False
    method: Literal["adaad", "linear", "saad"] = "adaad"


class Autocast(nn.Module):
    """What the trainer's precision plug-in does around a student."""

    def __init__(self, model: nn.Module, enabled: bool) -> None:
        super().__init__()
        self.model, self.enabled = model, enabled

    def forward(self, x: Tensor) -> Tensor:
        """Answer in float32."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.enabled):
            return self.model(x).float()


def plain_attack(student: nn.Module, teacher: nn.Module, x: Tensor, start: Tensor) -> Tensor:
    """AdaAD's inner maximisation as in github.com/boyellow/AdaAD."""
    student.eval()
    teacher.eval()
    criterion = nn.KLDivLoss(reduction="none")
    x_adv = start
    for _ in range(STEPS):
        x_adv.requires_grad_()
        with torch.enable_grad():
            loss = criterion(F.log_softmax(student(x_adv), dim=1), F.softmax(teacher(x_adv), dim=1)).sum()
        gradient = torch.autograd.grad(loss, [x_adv])[0]
        x_adv = x_adv.detach() + STEP * torch.sign(gradient.detach())
        x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS)
        x_adv = torch.clamp(x_adv, 0.0, 1.0)
    student.train()
    return x_adv.detach()


def plain_loss(student: nn.Module, teacher: nn.Module, x: Tensor, x_adv: Tensor, alpha: float = 1.0) -> Tensor:
    """AdaAD's outer loss as there; the clean images are forwarded at alpha = 1 too."""
    clean, adversarial = student(x), student(x_adv)
    with torch.no_grad():
        teacher.eval()
        clean_target, target = teacher(x), teacher(x_adv)
    criterion = nn.KLDivLoss(reduction="batchmean")
    at_adversarial = criterion(F.log_softmax(adversarial, dim=1), F.softmax(target.detach(), dim=1))
    at_clean = criterion(F.log_softmax(clean, dim=1), F.softmax(clean_target.detach(), dim=1))
    return alpha * at_adversarial + (1 - alpha) * at_clean


def sgd(student: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4)


def started(x: Tensor) -> Tensor:
    return x + 0.001 * torch.randn_like(x)


class LinearAdaAD(AdaAD):
    """AdaAD with SAAD's inner maximisation and its own outer loss: what the linearised teacher alone gives."""

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """Linearise the teacher."""
        saad = Saad(SaadConfig(), self.student, self.teacher)
        return saad.inner(x, y)


class Library:
    """The library's step: attack and losses as the trainer calls them."""

    def __init__(self, student: nn.Module, teacher: nn.Module, chosen: Optimisations) -> None:
        self.chosen = chosen
        self.student, teacher = copy.deepcopy(student), copy.deepcopy(teacher)
        if chosen.channels_last:
            self.student.to(memory_format=torch.channels_last)
        if chosen.own_kernels:
            spare_slow_gradients(self.student, learns=True)
        self.view = self._view(self.student)
        teacher = self._view(teacher) or teacher
        if chosen.method == "saad":
            self.method: Method[Any] = Saad(SaadConfig(), self.student, teacher)
        else:
            kind = LinearAdaAD if chosen.method == "linear" else AdaAD
            self.method = kind(AdaADConfig(official=not chosen.skip_clean), self.student, teacher)
        self.method.student = Autocast(self.student, chosen.bfloat16_outer)
        self.maximisation = InnerMaximisation(norms["Linf"], EPS, STEP, STEPS, "gaussian")
        self.optimiser = sgd(self.student)

    def _view(self, network: nn.Module) -> FoldedCopy | None:
        chosen = self.chosen
        if not chosen.fold:
            return None
        view = FoldedCopy(
            network,
            dtype=torch.bfloat16 if chosen.bfloat16_inner else torch.float32,
            channels_last=chosen.channels_last,
            compiled=chosen.compiled,
        )
        if not chosen.own_kernels:
            for module in view.modules():
                if isinstance(module, ThinConv2d | StridedDepthwiseConv2d):
                    module.__class__ = nn.Conv2d
        return view

    def attack(self, x: Tensor, y: Tensor, start: Tensor | None = None) -> Tensor:
        """Return x'."""
        if self.view is not None:
            self.view.refresh()
        return self.method.attack(x, y, self.maximisation, start=start, view=self.view)

    def loss(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the outer loss."""
        return self.method.losses(x, x_adv, y).mean()

    def run(self, x: Tensor, y: Tensor) -> None:
        """Run one whole step."""
        if self.chosen.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        loss = self.loss(x, self.attack(x, y), y)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()


def ablation() -> dict[str, Optimisations]:
    """One optimisation after another, each on top of those before; the last one is ours."""
    chosen = Optimisations(False, False, False, False, False, False)
    rows: dict[str, Optimisations] = {}
    for label, changes in (
        ("+ no needless clean forward", {"skip_clean": True}),
        ("+ BatchNorm folded", {"fold": True}),
        ("+ channels last", {"channels_last": True}),
        ("+ bfloat16 inside", {"bfloat16_inner": True}),
        ("+ bfloat16 outside", {"bfloat16_outer": True}),
    ):
        chosen = replace(chosen, **changes)
        rows[label] = chosen
    return rows


def networks(pair: Pair, device: torch.device) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """Return student and teacher after a few steps of plain training, and the digits as they see them."""
    data = load_dataset(DataConfig(dataset="digits")).train
    channels, *size = pair.image_shape
    images = F.interpolate(torch.from_numpy(data.images), size=size, mode="bilinear", antialias=False)
    x, y = images.clamp(0, 1).expand(-1, channels, -1, -1).contiguous().to(device), torch.from_numpy(data.labels)
    y = y.to(device)
    student, teacher = (
        prepared(build_model(name, pair.image_shape, 10, seed=number).to(device), x, y, pair.preparation)
        for number, name in enumerate((pair.student, pair.teacher))
    )
    return student, teacher, x, y


def prepared(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> nn.Module:
    """Train a few steps on clean images, then let BatchNorm average its statistics over as many batches."""
    model.to(memory_format=torch.channels_last).train()
    asked, batches = Autocast(model, True), torch.arange(32 * steps, device=x.device).view(steps, 32) % len(y)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for rows in batches:
        optimiser.zero_grad()
        F.cross_entropy(asked(x[rows]), y[rows]).backward()
        optimiser.step()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for rows in batches[:10]:
            asked(x[rows])
    for norm in norms:
        norm.momentum = 0.1
    return model.to(memory_format=torch.contiguous_format)
