"""Pretrained teachers: a checkpoint, a model of RobustBench's zoo, a user's own model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from ..checkpoint import Checkpoint, load_into, named_model, read_checkpoint
from ..models import build_model
from ..normalization import Normalization, Normalized
from .zoo import as_the_zoo_reads, is_of_the_zoo

# Two of the zoo's files hold both; RobustBench takes the last.
_ZOO_WRAPPER = "last"


@dataclass(frozen=True)
class Pretrained:
    """A model with its weights.

    Attributes:
        name: the name it is built by.
        network: the network itself, without the normalisation below.
        normalize: what its images must be normalised with.
        choice: what a user should know of how its weights were chosen among several in their file.
    """

    name: str
    network: nn.Module
    normalize: Normalization | None
    choice: str | None = None

    def classifier(self, channels: int, where: str) -> nn.Module:
        """Return the network behind its normalisation, in eval mode and frozen: pixels in [0, 1] in, logits out."""
        model = self.network
        if self.normalize is not None:
            model = Normalized(model, self.normalize, channels, f"{where}.normalize")
        return model.eval().requires_grad_(False)


def load_pretrained(
    model: str | None,
    file: Path | None,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    normalize: Normalization | None = None,
    weights: str | None = None,
    where: str = "teacher",
) -> Pretrained:
    """Build a model with its weights: those of a file, or those that a user's function gives it.

    Args:
        model: the model's name; may be None where the file tells it.
        file: the weights; None where the model's function brings its own.
        image_shape: channels, height and width of the data.
        classes: number of classes of the data.
        normalize: the normalisation it expects, where the file does not tell it.
        weights: which of the file's, where it has several.
        where: the recipe section, for messages.

    Raises:
        UsageError: the file is unusable, does not fit the model or the data, or does not say which model it is of.
    """
    if file is None:
        assert model is not None, "without a file the model brings its weights"
        return Pretrained(model, build_model(model, image_shape, classes, seed=0), normalize)
    name = model or named_model(file)
    if name is None:
        raise UsageError(f"{where}.model: missing, and {file} does not name its model")
    network = build_model(name, image_shape, classes, seed=0)
    wrappers = (_ZOO_WRAPPER,) if is_of_the_zoo(name) else ()
    found = read_checkpoint(file, network.state_dict(), weights=weights, wrappers=wrappers)
    own = as_the_zoo_reads(found.weights, network) if is_of_the_zoo(name) else found.weights
    _check_data(network, own, image_shape, classes, str(file))
    load_into(network, own, path=file, name=name)
    return Pretrained(name, network, _one_normalization(normalize, found, file, where), found.choice)


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over a model's state dict, for weights that come from no file we know of."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _one_normalization(given: Normalization | None, found: Checkpoint, file: Path, where: str) -> Normalization | None:
    if given is not None and found.normalize is not None and given != found.normalize:
        raise UsageError(f"{where}.normalize: {file} holds its own, {found.normalize}; leave the key out")
    return given or found.normalize


def _check_data(
    model: nn.Module, weights: dict[str, Tensor], image_shape: tuple[int, int, int], classes: int, where: str
) -> None:
    """Say that weights were made for another number of classes or channels, where that is all that does not fit."""
    wrong = [
        (tuple(value.shape), tuple(weights[name].shape))
        for name, value in model.state_dict().items()
        if name in weights and weights[name].shape != value.shape
    ]
    if not wrong:
        return
    for axis, ours, what in ((0, classes, "classes"), (1, image_shape[0], "image channels")):
        theirs = {
            found[axis] if _differ_only_in(axis, expected, found) and expected[axis] == ours else None
            for expected, found in wrong
        }
        if len(theirs) == 1 and None not in theirs:
            raise UsageError(f"{where}: has {theirs.pop()} {what}, the data have {ours}")


def _differ_only_in(axis: int, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) > axis and all(
        a == b for place, (a, b) in enumerate(zip(one, other, strict=True)) if place != axis
    )
