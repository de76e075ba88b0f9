"""One training loop for every method, on Lightning Fabric."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.seed import seed_everything
from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from torch import Tensor, nn

from ...targets.errors import StageError, UsageError
from ...targets.registry import nearest
from ..checkpoint import WEIGHTS, save_weights
from ..data import Dataset, Split
from ..section import Section
from ..threat import ThreatModel
from .augment import random_shift
from .inner import InnerConfig, InnerMaximisation
from .method import Method, methods
from .selection import pgd_accuracy


class TrainConfig(Section):
    """How a model is trained.

    Attributes:
        method: a registered method; `options` are that method's own.
        plugins: names of plug-ins that modify the method (none is known yet).
        inner: the inner maximisation of the training loss.
        schedule: `cosine` decays to zero over all steps, `onecycle` warms up first, `multistep` divides the
            rate by ten at each milestone (a fraction of the epochs), `constant` leaves it.
        shift: augmentation: random shifts by up to this many pixels.
        selection_steps: PGD steps by which the best epoch is chosen, on the validation split.
    """

    method: Annotated[str, AfterValidator(methods.check)]
    options: dict[str, object] = Field(default_factory=dict, validate_default=True)
    plugins: tuple[str, ...] = ()
    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Literal["cosine", "onecycle", "multistep", "constant"] = "onecycle"
    milestones: tuple[float, ...] = (0.5, 0.75)
    inner: InnerConfig = InnerConfig()
    shift: int = Field(default=0, ge=0)
    selection_steps: int = Field(default=20, ge=1)
    seed: int = 0

    @field_validator("options")
    @classmethod
    def _options_of_the_method(cls, options: dict[str, object], info: ValidationInfo) -> dict[str, object]:
        if "method" not in info.data:  # its own error is reported already
            return options
        config = methods[info.data["method"]].Config
        for name in options:
            if name not in config.model_fields:
                known = ", ".join(config.model_fields)
                raise ValueError(f"{name}: unknown option{nearest(name, config.model_fields)} (known: {known})")
        return config.model_validate(options).model_dump()

    @field_validator("plugins")
    @classmethod
    def _known_plugins(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if names:
            raise ValueError(f"unknown plugin {names[0]!r} (known: none)")
        return names


@dataclass(frozen=True)
class Epoch:
    """What is recorded of one epoch; accuracies are fractions on the validation split."""

    epoch: int
    loss: float
    clean_accuracy: float
    pgd_accuracy: float


@dataclass
class TrainResult:
    """Weights of the best and of the last epoch, and the history that chose between them."""

    best: dict[str, Tensor]
    last: dict[str, Tensor]
    best_epoch: int
    history: list[Epoch] = field(default_factory=list)

    def save(self, folder: Path, *, model: str) -> None:
        """Write the best weights as `model.safetensors`, the last as `last.safetensors`, and `training.json`.

        Args:
            folder: where the files go.
            model: the registered model that the weights belong to.
        """
        save_weights(self.best, folder / WEIGHTS, model=model)
        save_weights(self.last, folder / "last.safetensors", model=model)
        summary = {
            "selection": "PGD accuracy on the validation split",
            "best": asdict(self.history[self.best_epoch]),
            "last": asdict(self.history[-1]),
            "history": [asdict(epoch) for epoch in self.history],
        }
        (folder / "training.json").write_text(json.dumps(summary, indent=1))


def train(
    student: nn.Module,
    dataset: Dataset,
    threat: ThreatModel,
    config: TrainConfig,
    *,
    teacher: nn.Module | None = None,
    where: str = "train",
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> TrainResult:
    """Train `student` in place with a method, and return its best and its last weights.

    Args:
        student: the model that learns.
        dataset: its train split is learnt, its validation split chooses the best epoch; the test split is
            not touched.
        threat: the threat model of the inner maximisation and of the selection.
        config: the method and its schedule.
        teacher: the robust teacher, for methods that need one.
        where: the recipe section, for messages.
        on_epoch: called after every epoch.

    Raises:
        UsageError: the method needs a teacher and there is none, or step > eps.
        StageError: the loss is not a number; says at which step.
    """
    maximisation = InnerMaximisation.of(config.inner, threat, where=f"{where}.inner")
    method = _method(config, student, teacher, where)
    seed_everything(config.seed, workers=True, verbose=False)
    fabric = Fabric(devices=1)
    optimiser = torch.optim.SGD(
        student.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )
    wrapped, optimiser = fabric.setup(student, optimiser)
    method.student = wrapped
    if teacher is not None:
        teacher.to(fabric.device)
    images = torch.from_numpy(dataset.train.images).to(fabric.device)
    labels = torch.from_numpy(dataset.train.labels).to(fabric.device)
    batches = math.ceil(len(labels) / config.batch_size)
    schedule = _schedule(optimiser, config, batches)

    result = TrainResult({}, {}, 0)
    best_score = (-1.0, -1.0)
    for epoch in range(config.epochs):
        total = 0.0
        order = torch.randperm(len(labels), device=fabric.device)
        for number, rows in enumerate(order.tensor_split(batches)):
            x, y = random_shift(images[rows], config.shift), labels[rows]
            loss, _ = method.step(x, y, maximisation)
            if not bool(torch.isfinite(loss)):
                raise StageError(
                    f"{where}: the loss is {float(loss)} at epoch {epoch + 1}, step {number + 1}; "
                    f"lower {where}.learning_rate ({config.learning_rate:g})"
                )
            optimiser.zero_grad(set_to_none=True)
            fabric.backward(loss)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        clean, robust = _validate(student, dataset.validation, threat, config, fabric.device)
        result.history.append(Epoch(epoch + 1, total / len(labels), clean, robust))
        if (robust, clean) > best_score:
            best_score = (robust, clean)
            result.best_epoch, result.best = epoch, _weights(student)
        on_epoch(result.history[-1])
    result.last = _weights(student)
    return result


def _method(config: TrainConfig, student: nn.Module, teacher: nn.Module | None, where: str) -> Method[Any]:
    method_class = methods[config.method]
    options = method_class.Config.model_validate(config.options)
    needs = method_class.needs(options)
    if "teacher" in needs and teacher is None:
        raise UsageError(f"{where}.method: {config.method!r} distils and needs a teacher")
    return method_class(options, student, teacher if "teacher" in needs else None)


def _schedule(
    optimiser: torch.optim.Optimizer, config: TrainConfig, batches: int
) -> torch.optim.lr_scheduler.LRScheduler:
    steps = config.epochs * batches
    schedulers = torch.optim.lr_scheduler
    if config.schedule == "cosine":
        return schedulers.CosineAnnealingLR(optimiser, steps)
    if config.schedule == "onecycle":
        return schedulers.OneCycleLR(
            optimiser, config.learning_rate, total_steps=steps + 1, pct_start=0.25, cycle_momentum=False
        )
    milestones = [round(fraction * steps) for fraction in config.milestones]
    return schedulers.MultiStepLR(optimiser, milestones if config.schedule == "multistep" else [])


def _validate(
    student: nn.Module, split: Split, threat: ThreatModel, config: TrainConfig, device: torch.device
) -> tuple[float, float]:
    return pgd_accuracy(student, split, threat, steps=config.selection_steps, seed=config.seed, device=device)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: copy.deepcopy(value.detach().cpu()) for name, value in model.state_dict().items()}
