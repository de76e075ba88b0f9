"""Teacher acceptance: what a teacher from elsewhere must show before anything is learnt from it."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import UsageError, reason_of
from ..data import Dataset, Split
from ..normalization import Normalization
from ..plausibility import Variant, normalized, plausibility, usual_pixels

# Validation images that are asked, and as many for each normalisation that is tried.
SAMPLES = 256
_BATCH = 128


def accept_teacher(model: nn.Module, dataset: Dataset, what: str, key: str, *, normalized: bool = False) -> None:
    """Check a finished teacher on validation images: logits, finite, and for pixels in [0, 1].

    Its accuracy must differ from guessing, and no usual normalisation and no permutation of its labels may make it
    clearly more accurate.

    Args:
        model: pixels in, logits out; any normalisation is inside.
        dataset: its validation split is asked.
        what: the recipe key and the file or function, for messages.
        key: the recipe key that sets a normalisation, for messages.
        normalized: whether the user has said what the normalisation is, so that no other is tried.

    Raises:
        UsageError: says what is wrong, and which key would put it right.
    """
    split = validation_sample(dataset)
    answers = predict(model, split, what)
    check_logits(answers, what)

    def ask(images: np.ndarray) -> np.ndarray:
        return predict(model, Split(images, split.labels, split.index), what).numpy()

    found = plausibility(ask, split, () if normalized else _usual(dataset, key))
    count = found.count
    if found.better is not None:
        variant, correct = found.better
        raise UsageError(
            f"{what}: answers {found.correct} of {count} validation images correctly on pixels in [0, 1], and "
            f"{correct} when they are normalised; set {variant.said}"
        )
    if found.permuted is not None:
        judged, plain, turned = found.judged
        raise UsageError(
            f"{what}: has its classes in another order: of {judged} validation images {plain} are answered correctly, "
            f"and {turned} with its classes taken as {', '.join(map(str, found.permuted))}"
        )
    if found.guesses:
        chance = np.bincount(split.labels).max() / count
        raise UsageError(
            f"{what}: answers {found.correct} of {count} validation images correctly, which is no better than guessing "
            f"({chance:.0%}); it may expect another pixel range than [0, 1] (see {key}), or have its classes in "
            "another order"
        )


def predict(model: nn.Module, split: Split, where: str) -> Tensor:
    """Return a model's answers `[N, K]` to a split, on the GPU where there is one.

    Raises:
        UsageError: it fails on such images.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.eval().to(device)
    try:
        with torch.no_grad():
            parts = [model(images.to(device)).cpu() for images in torch.from_numpy(split.images).split(_BATCH)]
    except Exception as error:  # somebody else's model may fail in any way
        raise UsageError(f"{where}: fails on images {list(split.images.shape[1:])}: {reason_of(error)}") from error
    finally:
        model.to("cpu")
    return torch.cat(parts)


def check_logits(answers: Tensor, where: str) -> None:
    """Refuse answers that are not finite, or that are probabilities.

    Raises:
        UsageError: says which, and what to return instead.
    """
    if not bool(answers.isfinite().all()):
        raise UsageError(f"{where}: answers with numbers that are not finite")
    sums = answers.sum(1)
    if bool((answers >= 0).all() and (answers <= 1).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)):
        raise UsageError(
            f"{where}: answers with probabilities (each row sums to 1), and logits are needed: "
            "leave out its softmax, or return the probabilities' logarithm"
        )


def validation_sample(dataset: Dataset) -> Split:
    """The validation images that a finished teacher is asked about, at most 256 of them."""
    split = dataset.validation
    rows = np.random.default_rng(0).permutation(len(split))[:SAMPLES]
    return split.take(np.sort(rows))


def _usual(dataset: Dataset, key: str) -> list[Variant]:
    """The normalisations people train with, as the recipe's key says them."""
    images = dataset.train.images[:: max(1, len(dataset.train) // 5000)]
    usual = [Normalization(mean=mean, std=std) for mean, std in usual_pixels(images)]
    return [Variant(f"{key}: {each}", partial(normalized, mean=each.mean, std=each.std)) for each in usual]
