"""Precision of a model file: which number formats weights and activations have, and how such a file is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from ....core.config import Listed
from ....core.onnx_reader import read_onnx
from ....core.registry import Registry
from ....targets.base import Scheme, Target, TargetOptions
from ...data import Dataset
from ...properties import describe, properties_of
from ...threat import ThreatModel
from ..calibration_config import CalibrationConfig
from ..search_config import SearchConfig

MODEL = "model.onnx"


@dataclass(frozen=True)
class Job:
    """What a precision is made of.

    Attributes:
        float_model: the float ONNX file.
        folder: where `model.onnx` goes, and whatever the report says of it.
        scheme: what the target wants, with what the recipe changes of it.
        calibration: how activation ranges are found.
        search: how assignments are compared.
        dataset: its training split calibrates, its validation split is attacked.
        threat: the ball.
        target: whose engine is attacked and timed, for precisions that are `measured`.
        options: what that target's engines are built with.
        limits: the least figures that the recipe's gates ask for, by name.
        notice: told what is wrong.
        progress: told after each layer, with how many there are.
    """

    float_model: Path
    folder: Path
    scheme: Scheme
    calibration: CalibrationConfig
    search: SearchConfig
    dataset: Dataset
    threat: ThreatModel
    target: Target | None = None
    options: TargetOptions | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    notice: Callable[[str], None] = lambda _: None
    progress: Callable[[int, int], None] = lambda *_: None

    @property
    def path(self) -> Path:
        """Where the file goes."""
        return self.folder / MODEL

    def describe(self, label: str) -> None:
        """Write into the file what the float file says of itself, what its precision is called, and its scheme."""
        about = {"edgeproof.precision": label, "edgeproof.scheme": self.scheme.name}
        describe(self.path, {**properties_of(self.float_model), **about})


class Precision(ABC):
    """One way to store and compute a model's numbers; registers itself under the name that a recipe writes.

    Attributes:
        name: as the recipe writes it.
        integers: whether quantizers in the target's scheme are inserted into the whole graph, which `recover` can then
            train alone, without a search.
        measured: whether it is chosen by how fast engines are here, so that each target has a file of its own, made
            where the target runs.
        exact: whether nothing is lost, so that there is nothing to recover.
        rank: the order in which foreign files are asked for it; those that hold less come first.
    """

    name: ClassVar[str]
    integers: ClassVar[bool] = False
    measured: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    rank: ClassVar[int] = 0

    @abstractmethod
    def make(self, job: Job) -> None:
        """Write `model.onnx` into the job's folder; images and logits stay float32.

        Raises:
            StageError: the file cannot be converted.
        """

    def label(self, scheme: Scheme) -> str:
        """What reports call it, in a scheme with what the recipe changes of it."""
        return self.name

    def describes(self, operators: Collection[str], types: Collection[int]) -> bool:
        """Whether a file with these operators, and initializers of these ONNX element types, is of this precision."""
        return False


class FloatPrecision(Precision):
    """A precision that a float file is converted to, whatever the target and the data."""

    @abstractmethod
    def convert(self, float_model: Path, path: Path) -> None:
        """Write the converted file; raises StageError where it cannot be."""

    def make(self, job: Job) -> None:
        """Convert the float file."""
        self.convert(job.float_model, job.path)
        job.describe(self.label(job.scheme))


precisions: Registry[Precision] = Registry(
    "precision", "edgeproof.stages.quantize.precisions", "edgeproof.precisions", instances_of=Precision
)

PrecisionName = Annotated[str, AfterValidator(precisions.check), Listed(precisions.names)]


def precision_of(path: Path) -> str:
    """Name the precision of an ONNX file by what it holds: the first one, by rank, that describes it."""
    model = read_onnx(path, weights=False)
    operators = {node.op_type for node in model.graph.node}
    types = {tensor.data_type for tensor in model.graph.initializer}
    known = sorted((precisions[name] for name in precisions.names()), key=lambda precision: precision.rank)
    return next(precision.name for precision in known if precision.describes(operators, types))
