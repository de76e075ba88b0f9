"""Source model of a pruning: the registered model behind a student, at any stage of its pruning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..checkpoint import load_into, read_checkpoint
from ..models import build_model
from ..normalization import Normalization, Normalized
from .architecture import cut_layers
from .record import Cuts, read_pruning_of

if TYPE_CHECKING:  # it builds what this package prunes
    from ..classifier import Classifier


@dataclass(frozen=True)
class Source:
    """A registered model and the weight file that is pruned.

    Attributes:
        model: the registered name.
        image_shape: channels, height, width.
        classes: number of logits.
        path: the weight file.
        weights: what it holds.
        normalize: the normalisation that its weights expect, if any.
        cuts: what the student had lost before it came here.
    """

    model: str
    image_shape: tuple[int, int, int]
    classes: int
    path: Path
    weights: Mapping[str, Tensor]
    normalize: Normalization | None = None
    cuts: Cuts = field(default_factory=dict)

    @classmethod
    def of(cls, student: Classifier) -> Source:
        """Read a student's files.

        Raises:
            UsageError: one is missing or broken.
        """
        model, shape, classes = student.model, student.image_shape, student.classes
        found = read_checkpoint(student.weights)
        cuts = {} if student.pruning is None else read_pruning_of(student.pruning, model, shape, classes).layers
        return cls(model, shape, classes, student.weights, found.weights, found.normalize, cuts)

    def network(self, cuts: Cuts, weights: Mapping[str, Tensor]) -> nn.Module:
        """Build the model without `cuts` and with `weights`, on the CPU and able to learn.

        Raises:
            UsageError: the weights do not fit; says which.
        """
        network = build_model(self.model, self.image_shape, self.classes, seed=0)
        cut_layers(network, cuts)
        load_into(network, weights, path=self.path, name=self.model)
        return network

    def classifier(self, network: nn.Module) -> nn.Module:
        """Put the normalisation before a network, so that it takes pixels in [0, 1]."""
        if self.normalize is None:
            return network
        classifier = Normalized(network, self.normalize, self.image_shape[0], str(self.path))
        return classifier.to(next(network.parameters()).device)
