"""Subject under attack: a torch classifier or an engine, described so that any process can open it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from ....core.memory import half_the_memory
from ....core.model_file import sha256_of
from ....core.onnx_reader import read_onnx
from ....targets.base import EngineFile, Images, Logits
from ....targets.process.own_process import PATIENCE, OwnProcess, open_engine
from ....targets.process.watched import Watched
from ....targets.signature import signature_of
from ...adapt import reads_eight_bits
from ...classifier import Classifier
from ...distill.folded import FoldedCopy
from ...threat import ThreatModel
from ...twin import BackwardMode, NoTwin, Twin, load_twin
from .engine_module import AttackableEngine
from .guarded import BATCH, Guarded
from .inner_logits import differentiable, inner_logits
from .without_masks import UNMASKED, unmasked
from .wrappers import DIFFERENCE, JOINT, Blend

Predict = Callable[[Images], Logits]


@dataclass
class OpenedSubject:
    """An opened subject, as the routes see it.

    Attributes:
        predict: the subject's own forward, numpy in, logits out.
        gradient_sources: its gradients by name, the one to trust most first. A module's forward is the subject's own,
            or that of another function (inner logits, a surrogate) whose examples the subject is shown.
        classes: number of classes.
        twin: the twin's forward, for the agreement check; None for a torch subject.
        surrogate: the forward of the model whose gradients stand in where there is no twin.
        inner: the forward of the graph's inner logits, where something hides them; see `inner_logits`.
        doubts: names of what is known against the figure before any attack.
        coarse: whether the graph quantizes activations to fewer than 8 bits.
        labels_only: whether the answers are labels, as one-hot rows.
        eight_bit: whether the subject sees 8-bit images alone, so that no others count.
        guard: `predict` itself, where it is a model that may fail.
        fresh: opens a copy that has seen no image, where the model may remember what it saw.
    """

    predict: Predict
    gradient_sources: dict[str, nn.Module]
    classes: int
    twin: Predict | None = None
    surrogate: Predict | None = None
    inner: Predict | None = None
    doubts: frozenset[str] = frozenset()
    coarse: bool = False
    labels_only: bool = False
    eight_bit: bool = False
    guard: Guarded | None = None
    fresh: Callable[[], Guarded] | None = None

    def watching(self, clean: Images, threat: ThreatModel) -> AbstractContextManager[None]:
        """Watch samples; see `Guarded.watching`."""
        return nullcontext() if self.guard is None else self.guard.watching(clean, threat)

    def close(self) -> None:
        """Close the model, and the process that it may have to itself."""
        if self.guard is not None:
            self.guard.close()

    @property
    def as_module(self) -> nn.Module:
        """The subject's forward as a module, for attacks without gradients."""
        return Asked(self.predict)


class Subject(Protocol):
    """A subject in words: picklable, opened by each worker for itself."""

    @property
    def name(self) -> str:
        """How the report calls it."""
        ...

    def open(self) -> OpenedSubject:
        """Load the model with all its gradients."""
        ...

    def predictor(self) -> Predict:
        """Load the model's forward alone."""
        ...


@dataclass(frozen=True)
class TorchSubject:
    """A torch classifier of the run (teacher, student)."""

    name: str
    classifier: Classifier

    def open(self) -> OpenedSubject:
        """Load the weights, onto a GPU where there is one."""
        model = self._load()
        return OpenedSubject(in_batches(model), {"autograd": model}, self.classifier.classes)

    def predictor(self) -> Predict:
        """Load the weights, onto a GPU where there is one."""
        return in_batches(self._load())

    def _load(self) -> nn.Module:
        # Its eval mode with BatchNorm folded, as in every engine: the same function up to rounding, attacked sooner.
        return on_accelerator(FoldedCopy(self.classifier.load()))


@dataclass(frozen=True)
class EngineSubject:
    """A built engine, and the ONNX graph that its twin is made from.

    Attributes:
        name: how the report calls it.
        engine: the engine file.
        graph: the ONNX file of the twin.
        modes: the twin's backward modes, the one to trust most first; a graph that has no twin is attacked through
            its inner logits or the surrogate, where there are any.
        surrogate: an ONNX file (the float student, say) whose gradients are tried as well.
        isolated: whether what the engine does to its process is guarded against.
        patience: seconds it may take for a batch before it counts as hung.
        first: seconds for its first batch, where that is less; needs `isolated`.
        in_worker: whether this process is a worker that may die of the engine: somebody will then open the subject
            anew, and the engine in a process of its own. Asking that one costs more than small networks take.
    """

    name: str
    engine: EngineFile
    graph: Path
    modes: tuple[BackwardMode, ...]
    surrogate: Path | None = None
    isolated: bool = True
    patience: float = PATIENCE
    first: float | None = None
    in_worker: bool = False

    def open(self) -> OpenedSubject:
        """Load the engine with one thread, and make its twin."""
        model = read_onnx(self.graph)
        signature = signature_of(model, self.graph)
        shape, classes = signature.image_shape, signature.classes
        predict = Guarded(self._ask(), classes)
        twins = self._twins(model)
        coarse = any(twin.coarse for twin in twins.values())
        if len(twins) > 1 and not coarse:
            twins.pop("smooth", None)  # steps so fine that it would be the first attack again
        gradients: dict[str, nn.Module] = {}
        inner = inner_logits(model, predict, shape, classes)
        if inner is not None and not differentiable(inner, shape):
            inner = None  # of labels, say
        if inner is not None:
            gradients["inner"] = inner
        smooth = bool(twins) and differentiable(next(iter(twins.values())), shape)
        if smooth:
            gradients |= {mode: AttackableEngine(predict, twin) for mode, twin in twins.items()}
        bare = unmasked(model) if smooth else None
        eight_bit = reads_eight_bits(model)
        del model  # as large as a twin
        if bare is not None:
            # Second, where the checks and the probe take notice of it.
            first = dict(list(gradients.items())[:1])
            gradients = {**first, UNMASKED: AttackableEngine(predict, bare), **gradients}
        other = None if self.surrogate is None else load_twin(self.surrogate)
        if other is not None:
            if smooth:
                own = AttackableEngine(predict, next(iter(twins.values())))
                gradients[JOINT] = Blend([own, other], [1.0, 1.0])
                gradients[DIFFERENCE] = Blend([own, other], [2.0, -1.0])
            gradients["surrogate"] = AttackableEngine(predict, other)
        return OpenedSubject(
            predict,
            gradients,
            classes,
            in_batches(self._rounding(twins)) if twins else None,
            None if twins or other is None else in_batches(other),
            in_batches(inner) if inner is not None else None,
            frozenset() if gradients else frozenset({"no-gradients"}),
            coarse=coarse,
            eight_bit=eight_bit,
            guard=predict,
        )

    def _rounding(self, twins: dict[BackwardMode, Twin]) -> Twin:
        """A twin whose forward is the engine's, which that of the smooth mode is not."""
        rounding = (twin for mode, twin in twins.items() if mode != "smooth")
        return next(rounding, None) or twins["smooth"].in_mode("relu")

    def _twins(self, model: onnx.ModelProto) -> dict[BackwardMode, Twin]:
        """A twin a mode, all of the same weights."""
        try:
            twin = Twin(model)
        except NoTwin:
            return {}
        return {mode: twin.in_mode(mode) for mode in self.modes}

    def predictor(self) -> Guarded:
        """Load the engine alone."""
        classes = signature_of(read_onnx(self.graph, weights=False), self.graph).classes
        return Guarded(self._ask(), classes)

    def _ask(self) -> Callable[[Images], Logits]:
        opener = partial(open_engine, self.engine)
        if not self.isolated:
            return opener()
        if self.in_worker:
            return Watched(opener(), patience=self.patience)
        return OwnProcess(opener, patience=self.patience, first=self.first, memory=half_the_memory())


def in_worker(subject: Subject) -> Subject:
    """The subject for a worker that may die of it; see `EngineSubject.in_worker`."""
    return replace(subject, in_worker=True) if isinstance(subject, EngineSubject) else subject


def sees_eight_bits(subject: Subject) -> bool:
    """Whether a subject sees 8-bit images alone, as its graph says."""
    return isinstance(subject, EngineSubject) and reads_eight_bits(read_onnx(subject.graph, weights=False))


def digest_of_subject(subject: Subject) -> str | None:
    """SHA-256 of an engine, or of a network's weights; None where the subject is no file."""
    if isinstance(subject, EngineSubject):
        return subject.engine.sha256
    return sha256_of(subject.classifier.weights) if isinstance(subject, TorchSubject) else None


class Asked(nn.Module):
    """A forward without gradients as a module."""

    def __init__(self, predict: Predict) -> None:
        super().__init__()
        self._predict = predict

    def forward(self, x: Tensor) -> Tensor:
        """Answer images with logits."""
        return torch.from_numpy(self._predict(np.ascontiguousarray(x.detach().cpu().numpy(), np.float32)))


class OnDevice(nn.Module):
    """A model on a device that takes and returns tensors of another: attacks keep their images where they are.

    Args:
        model: moved to the device.
        device: where it computes.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.model = model.to(device)
        self.device = device

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `[N, K]` on the device of the images `[N, C, H, W]`, with their gradient."""
        return self.model(x.to(self.device)).to(x.device)


def on_accelerator(model: nn.Module) -> nn.Module:
    """Return a model that computes on a GPU where torch finds one, in full float32; elsewhere the model itself."""
    if not torch.cuda.is_available():
        return model
    # TF32 would attack another function than the one that is reported.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return OnDevice(model, torch.device("cuda"))


def in_batches(model: nn.Module) -> Predict:
    """Wrap a torch model as numpy in, logits out, any number of images."""

    @torch.no_grad()
    def predict(images: Images) -> Logits:
        parts = [
            model(torch.from_numpy(images[first : first + BATCH])).numpy()
            for first in range(0, max(len(images), 1), BATCH)
        ]
        return np.concatenate(parts)

    return predict


def is_correct(logits: Logits, labels: np.ndarray) -> np.ndarray:
    """Whether each row's largest logit is its label's; a row that is not finite counts as wrong."""
    return (logits.argmax(1) == labels) & np.isfinite(logits).all(1)


def fooled(predict: Predict, images: Images, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Say which samples `[N]` are answered wrongly on at least one image.

    Args:
        predict: the subject's forward.
        images: `[M, C, H, W]` candidates.
        rows: `[M]`, the sample each candidate belongs to.
        labels: `[N]` labels.
    """
    broken = np.zeros(len(labels), bool)
    if len(images):
        np.logical_or.at(broken, rows, ~is_correct(predict(images), labels[rows]))
    return broken
