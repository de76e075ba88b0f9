"""Training step: networks, optimiser, schedule and averaged weights, and one update of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ..folded import FoldedCopy
from ..inner import InnerMaximisation
from ..method import Companion, Method
from ..smooth_form import HasSmoothForm
from .averaging import WeightAverage
from .awp import frozen_statistics, perturbed
from .config import TrainConfig
from .processes import Processes
from .schedule import make_schedule

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricOptimizer


@dataclass(frozen=True)
class TrainingBatch:
    """A process's part of a global batch.

    Attributes:
        x: images in [0, 1], `[N, C, H, W]`.
        y: labels, int64 `[N]`.
        start: where the inner maximisation starts, `[N, C, H, W]`.
        count: images of the global batch.
    """

    x: Tensor
    y: Tensor
    start: Tensor
    count: int

    def split(self, parts: int) -> Iterator[TrainingBatch]:
        """Yield the batch in parts, for gradient accumulation."""
        pieces = (each.tensor_split(parts) for each in (self.x, self.y, self.start))
        return (TrainingBatch(x, y, start, self.count) for x, y, start in zip(*pieces, strict=True))


class Learner:
    """A student with all that it learns by.

    Args:
        student: the model that learns; moved to the device and changed in place.
        companions: the networks that its method needs.
        config: how it learns.
        steps: optimiser steps of the whole training.
        fabric: where it learns.
        processes: who else learns it.
    """

    def __init__(
        self,
        student: nn.Module,
        companions: Mapping[Companion, nn.Module],
        config: TrainConfig,
        *,
        steps: int,
        fabric: Fabric,
        processes: Processes,
    ) -> None:
        self.config = config
        self._fabric, self._processes = fabric, processes
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.student = self._placed(processes.synchronised(student))
        frozen = {name: self._fast(self._placed(net)) for name, net in companions.items() if name != "peer"}
        self._learning = {"student": self.student}
        if "peer" in companions:
            self._learning["peer"] = self._placed(processes.synchronised(companions["peer"]))
        self.method: Method[Any] = config.method_class(
            config.method_config, self.student, peer=self._learning.get("peer"), plugins=config.make_plugins(), **frozen
        )
        self.method.gather = processes.gather
        if isinstance(self.student, HasSmoothForm):
            self._view = self.student.smooth()
        else:
            self._view = self._fast(self.student) if config.fold else None
        self._wrapped = {name: fabric.setup_module(model) for name, model in self._learning.items()}
        self.method.student = self._wrapped["student"]
        if "peer" in self._wrapped:
            self.method.peer = self._wrapped["peer"]
        optimiser = torch.optim.SGD(
            [parameter for model in self._wrapped.values() for parameter in model.parameters()],
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov and config.momentum > 0,
        )
        self._optimiser = cast("_FabricOptimizer", fabric.setup_optimizers(optimiser))
        self._schedule = make_schedule(optimiser, config, steps)
        self._average = None if config.average.kind == "none" else WeightAverage(self.student, config.average)

    @property
    def current(self) -> nn.Module:
        """What is validated and kept: the averaged student once there is one."""
        return self._average.module if self._average is not None and self._average.begun else self.student

    @property
    def averages(self) -> WeightAverage | None:
        """The averaged weights, once there are any."""
        return self._average if self._average is not None and self._average.begun else None

    @property
    def learning_rate(self) -> float:
        """The current rate."""
        return float(self._schedule.get_last_lr()[0])

    def step(self, batch: TrainingBatch, maximisation: InnerMaximisation, fraction: float) -> Tensor:
        """Take one optimiser step; return the global batch's mean loss.

        Args:
            batch: this process's part.
            maximisation: how x' is searched.
            fraction: how much of the training is over.
        """
        config = self.config
        if isinstance(self._view, FoldedCopy):
            self._view.refresh()
        attacked = [(part, self._attack(part, maximisation)) for part in batch.split(config.accumulate)]
        if config.awp is not None and fraction >= config.awp.start:
            state = copy.deepcopy(self.method.state_dict())
            with ExitStack() as still:
                for model in self._learning.values():
                    still.enter_context(frozen_statistics(model))
                self._backward(attacked)
            self.method.load_state_dict(state)
            with perturbed(self.student, config.awp.gamma):
                total = self._backward(attacked)
        else:
            total = self._backward(attacked)
        if config.clip_norm is not None:
            for model in self._wrapped.values():
                self._fabric.clip_gradients(model, self._optimiser, max_norm=config.clip_norm)
        self._optimiser.step()
        self._schedule.step()
        self._average_after("step", fraction)
        return self._processes.total(total) / batch.count

    def end_epoch(self, fraction: float) -> None:
        """Note that an epoch is over."""
        self.method.end_epoch()
        self._average_after("epoch", fraction)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "networks": {name: model.state_dict() for name, model in self._learning.items()},
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "method": self.method.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        for name, model in self._learning.items():
            model.load_state_dict(state["networks"][name])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self.method.load_state_dict(_on(state["method"], self._fabric.device))

    def _attack(self, batch: TrainingBatch, maximisation: InnerMaximisation) -> Tensor:
        mode = self.config.inner.batch_norm
        with self._fabric.autocast():
            return self.method.attack(
                batch.x, batch.y, maximisation, start=batch.start, mode=mode, view=self._view
            ).contiguous(memory_format=self.layout)

    def _backward(self, attacked: list[tuple[TrainingBatch, Tensor]]) -> Tensor:
        """Leave the gradient of the global batch's mean loss in the parameters; return this process's summed loss."""
        self._optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._fabric.device)
        for number, (batch, x_adv) in enumerate(attacked, 1):
            with self._unsynchronised(number < len(attacked)), self._fabric.autocast():
                loss = self.method.losses(batch.x, x_adv, batch.y).sum()
                # Data parallel averages over the processes, whose parts may differ in size by one.
                self._fabric.backward(loss * (self._processes.world / batch.count))
            total += loss.detach()
        return total

    @contextmanager
    def _unsynchronised(self, enabled: bool) -> Iterator[None]:
        if enabled and self._processes.world > 1:
            with self._fabric.no_backward_sync(self._wrapped["student"]):
                yield
        else:
            yield

    def _average_after(self, unit: str, fraction: float) -> None:
        average = self.config.average
        if self._average is not None and average.every == unit and fraction >= average.start:
            self._average.update(self.student)

    def _fast(self, model: nn.Module) -> nn.Module:
        config = self.config
        if not config.fold:
            return model
        return FoldedCopy(
            model,
            dtype=torch.bfloat16 if config.precision == "bf16-mixed" else torch.float32,
            channels_last=config.channels_last,
            compiled=config.compile,
        )

    def _placed(self, model: nn.Module) -> nn.Module:
        return model.to(device=self._fabric.device).to(memory_format=self.layout)  # pyright: ignore[reportCallIssue]


def _on(state: Any, device: torch.device) -> Any:
    if isinstance(state, Tensor):
        return state.to(device)
    return {name: _on(value, device) for name, value in state.items()} if isinstance(state, dict) else state
