"""Distillation method: an inner maximisation objective and an outer minimisation loss; and the registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from ...core.config import Config
from ...core.errors import UsageError
from ...core.registry import Registry
from .eval_mode import BatchNormMode, Remembering, evaluating
from .inner import InnerMaximisation, Objective, Start, Term
from .modification import Modification

# The networks beside the student: a frozen robust teacher, a frozen clean one, a peer that learns along.
Companion = Literal["teacher", "natural_teacher", "peer"]


class MethodConfig(Config):
    """Options that every method has.

    Attributes:
        official: do what the authors' published code does, down to side effects such as additional BatchNorm
            forwards, where it departs from the paper or from what is sound. The golden vectors hold it to that.
    """

    official: bool = False


ConfigT = TypeVar("ConfigT", bound=MethodConfig)


class Method(ABC, Generic[ConfigT]):
    """One adversarial training or distillation method.

    A subclass states how x' is found (`inner`) and what the student learns from it (`outer`); both read
    like the paper. `step` puts them together: the inner maximisation runs with all networks in eval mode, so
    that it leaves BatchNorm statistics alone; the outer loss sees the student in train mode and the teachers
    in eval mode. In `outer`, `learn(x)` and `teach(x)` are S(x) and T(x), computed once a step; call
    `self.student` itself for a further forward.

    Args:
        config: the method's own options.
        student: the model that learns.
        teacher: the frozen robust teacher, for methods that need one.
        natural_teacher: a frozen teacher trained on clean images, for methods that need one.
        peer: a network that is trained beside the student, for methods that need one.
        plugins: what modifies the method, applied in this order.

    Attributes:
        state: what the method carries from batch to batch; saved with a checkpoint.
        epoch: the current epoch, from 1.
        epochs: how many there will be.
        gather: joins `[N]` values of all processes into one tensor; the identity in a single process.
    """

    Config: ClassVar[type[MethodConfig]]
    # Whether the method is after robustness; if not, its epochs are compared by clean accuracy.
    robust: ClassVar[bool] = True
    # Where the search starts unless the recipe says otherwise, and the BatchNorm mode of the authors' attack.
    start: ClassVar[Start] = "gaussian"
    official_attack_mode: ClassVar[BatchNormMode] = "eval"

    def __init__(
        self,
        config: ConfigT,
        student: nn.Module,
        teacher: nn.Module | None = None,
        *,
        natural_teacher: nn.Module | None = None,
        peer: nn.Module | None = None,
        plugins: Sequence[Modification] = (),
    ) -> None:
        self.config = config
        self.student = student
        self.bare_student = student
        self._companions: dict[Companion, nn.Module | None] = {
            "teacher": teacher,
            "natural_teacher": natural_teacher,
            "peer": peer,
        }
        for frozen in (teacher, natural_teacher):
            if frozen is not None:
                # Frozen, yet not under no_grad: gradients still reach the input through the teacher.
                frozen.requires_grad_(False).eval()
        self.plugins = tuple(plugins)
        for plugin in self.plugins:
            plugin.method = self
        self.state: dict[str, Any] = {}
        self.epoch = 1
        self.epochs = 1
        self.gather: Callable[[Tensor], Tensor] = lambda values: values
        self._labels: Tensor | None = None
        self._answers: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    @classmethod
    def needs(cls, config: ConfigT) -> Collection[Companion]:
        """The networks that the method needs beside the student, with these options."""
        return ("teacher",)

    @abstractmethod
    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """Return the objective of x' that the inner maximisation raises, summed over this batch."""

    @abstractmethod
    def outer(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each sample, `[N]`; the student minimises its mean."""

    def search(self, x: Tensor, y: Tensor, maximisation: InnerMaximisation, start: Tensor | None) -> Tensor:
        """Return x' of this batch."""
        return maximisation.run(self.modified(x, y), x, start=start)

    def modified(self, x: Tensor, y: Tensor) -> Objective:
        """Return the inner objective as the plug-ins have it."""
        objective = self.inner(x, y)
        for plugin in self.plugins:
            objective = plugin.inner(objective, x, y)
        return objective

    def attack(
        self,
        x: Tensor,
        y: Tensor,
        maximisation: InnerMaximisation,
        *,
        start: Tensor | None = None,
        mode: BatchNormMode | None = None,
        view: nn.Module | None = None,
    ) -> Tensor:
        """Run the inner maximisation and return x', detached.

        Args:
            x: images in [0, 1], `[N, C, H, W]`.
            y: labels, int64 `[N]`.
            maximisation: how x' is searched.
            start: the first iterate, instead of a random one.
            mode: BatchNorm's mode in the student; by default eval, or what the authors' code does if `official`.
            view: a faster module with the student's eval-mode answers, used where the mode is eval.
        """
        chosen = mode or (self.official_attack_mode if self.config.official else "eval")
        self._answers = {}
        with self._attacking(chosen, view), self._batch(y):
            return self.search(x, y, maximisation, start)

    def losses(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each sample `[N]` with the student in train mode, as the plug-ins have it."""
        self.student.train()
        if self._companions["peer"] is not None:
            self._companions["peer"].train()
        # What the teachers said in the attack still holds; the student's answers were in eval mode.
        self._answers = {key: answer for key, answer in self._answers.items() if key[0] != "student"}
        with self._batch(y):
            losses = self.weigh(self.outer(x, x_adv, y), y)
            for plugin in self.plugins:
                losses = plugin.outer(losses, x, x_adv, y)
        self._answers = {}  # let go of the graph
        return losses

    def step(
        self,
        x: Tensor,
        y: Tensor,
        maximisation: InnerMaximisation,
        *,
        start: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run one training step up to its loss; return (mean loss, x'). Arguments as of `attack`."""
        x_adv = self.attack(x, y, maximisation, start=start)
        return self.losses(x, x_adv, y).mean(), x_adv

    def weigh(self, losses: Tensor, y: Tensor) -> Tensor:
        """Return losses `[N]` with the weights that plug-ins give to samples of these labels."""
        for plugin in self.plugins:
            losses = plugin.weigh(losses, y)
        return losses

    def learn(self, x: Tensor) -> Tensor:
        """Return the student's logits at x with their gradient, forwarding once a step."""
        return self._once("student", x, self.student)

    def teach(self, x: Tensor, term: Term = "adversarial", *, by: Companion = "teacher") -> Tensor:
        """Return a teacher's logits at x as a fixed target, forwarding once a step.

        Args:
            x: images.
            term: the part of the loss that it is the target of; plug-ins may treat them differently.
            by: whose logits.
        """
        with torch.no_grad():
            return self.guide(self._once(by, x, self._companion(by)), term)

    def guide(self, logits: Tensor, term: Term = "adversarial") -> Tensor:
        """Return a teacher's logits as the plug-ins want the student to see them."""
        for plugin in self.plugins:
            assert self._labels is not None, "a plug-in guides only within a step"
            logits = plugin.guide(logits, self._labels, term)
        return logits

    @property
    def teacher(self) -> nn.Module:
        """The robust teacher."""
        return self._companion("teacher")

    @property
    def natural_teacher(self) -> nn.Module:
        """The teacher that was trained on clean images."""
        return self._companion("natural_teacher")

    @property
    def peer(self) -> nn.Module:
        """The network that learns beside the student."""
        return self._companion("peer")

    @peer.setter
    def peer(self, network: nn.Module) -> None:
        self._companions["peer"] = network

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Note that an epoch begins; the first is 1."""
        self.epoch, self.epochs = epoch, epochs
        for plugin in self.plugins:
            plugin.begin_epoch()

    def end_epoch(self) -> None:
        """Note that an epoch is over."""
        for plugin in self.plugins:
            plugin.end_epoch()

    def reached(self, fraction: float) -> bool:
        """Whether this fraction of the epochs is over."""
        return self.epoch - 1 >= round(fraction * self.epochs)

    def modified_by(self, name: str) -> bool:
        """Whether a plug-in of that name modifies the method."""
        return any(plugin.name == name for plugin in self.plugins)

    def state_dict(self) -> dict[str, Any]:
        """Return what the method and its plug-ins carry from batch to batch."""
        return {"method": self.state, **{plugin.name: plugin.state for plugin in self.plugins}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.state = state["method"]
        for plugin in self.plugins:
            plugin.state = state[plugin.name]

    def _companion(self, name: Companion) -> nn.Module:
        network = self._companions[name]
        if network is None:
            raise UsageError(f"{type(self).__name__} needs a {name.replace('_', ' ')}")
        return network

    def _once(self, who: str, x: Tensor, network: nn.Module) -> Tensor:
        # The image tensor is kept beside its answer, so that its id cannot be taken by another one.
        _, answer = self._answers.setdefault((who, id(x)), (x, x))
        if answer is x:
            answer = network(x)
            self._answers[who, id(x)] = (x, answer)
        return answer

    @contextmanager
    def _batch(self, y: Tensor) -> Iterator[None]:
        self._labels = y
        try:
            yield
        finally:
            self._labels = None

    @contextmanager
    def _attacking(self, mode: BatchNormMode, view: nn.Module | None) -> Iterator[None]:
        student, teacher, peer = self.student, self._companions["teacher"], self._companions["peer"]
        if peer is not None:
            peer.eval()
        with evaluating(self.bare_student, mode):
            self.student = Remembering(view if view is not None and mode == "eval" else self.bare_student)
            if teacher is not None:
                self._companions["teacher"] = Remembering(teacher)
            try:
                yield
            finally:
                self.student, self._companions["teacher"] = student, teacher


methods: Registry[type[Method[Any]]] = Registry("method", "edgeproof.stages.distill.methods", "edgeproof.methods")
