"""Teacher acceptance: what a teacher from elsewhere must show before anything is learnt from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import UsageError, reason_of
from ..data import Dataset, Split
from ..normalization import Normalization, Normalized
from ..statistics.proportions import clopper_pearson

# Validation images that are asked, and as many for each normalisation that is tried.
SAMPLES = 256
# One teacher in a thousand that guesses passes for one that knows something.
CHANCE = 1e-3
# A teacher that is this good takes the right pixels: no other normalisation is tried.
GOOD = 0.95
# Another normalisation must be better by more than both 99 % intervals.
LEVEL = 0.99
_BATCH = 128


def accept_teacher(model: nn.Module, dataset: Dataset, what: str, key: str, *, normalized: bool = False) -> None:
    """Check a finished teacher on validation images: logits, finite, and for pixels in [0, 1].

    Its accuracy must differ from guessing, and no usual normalisation may make it clearly more accurate: a network
    that was trained on other pixels still answers, only worse.

    Args:
        model: pixels in, logits out; any normalisation is inside.
        dataset: its validation split is asked.
        what: the recipe key and the file or function, for messages.
        key: the recipe key that sets a normalisation, for messages.
        normalized: whether the user has said what the normalisation is, so that no other is tried.

    Raises:
        UsageError: says what is wrong, and which key would put it right.
    """
    from scipy.stats import binom  # over a second

    split = _sample(dataset.validation)
    answers = predict(model, split, what)
    check_logits(answers, what)
    correct = _correct(answers, split)
    if not normalized and correct < GOOD * len(split):
        _try_normalizations(model, dataset, split, correct, what, key)
    chance = np.bincount(split.labels).max() / len(split)
    if binom.sf(correct - 1, len(split), chance) > CHANCE:
        raise UsageError(
            f"{what}: answers {correct} of {len(split)} validation images correctly, which is no better than guessing "
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


def _sample(split: Split) -> Split:
    rows = np.random.default_rng(0).permutation(len(split))[:SAMPLES]
    return split.take(np.sort(rows))


def _correct(answers: Tensor, split: Split) -> int:
    return int((answers.argmax(1).numpy() == split.labels).sum())


def _try_normalizations(model: nn.Module, dataset: Dataset, split: Split, correct: int, what: str, key: str) -> None:
    best, best_correct = None, correct
    for normalization in _usual(dataset.train):
        wrapped = Normalized(model, normalization, dataset.image_shape[0], key)
        found = _correct(predict(wrapped, split, what), split)
        if found > best_correct:
            best, best_correct = normalization, found
    count = len(split)
    as_it_is, normalized = clopper_pearson(correct, count, LEVEL), clopper_pearson(best_correct, count, LEVEL)
    if best is not None and normalized[0] > as_it_is[1]:
        raise UsageError(
            f"{what}: answers {correct} of {count} validation images correctly on pixels in [0, 1], and "
            f"{best_correct} when they are normalised; set {key}: {best}"
        )


def _usual(train: Split) -> Iterator[Normalization]:
    """The normalisations people train with: [-1, 1], [0, 255], the data's own, ImageNet's."""
    yield Normalization(mean=(0.5,), std=(0.5,))
    yield Normalization(mean=(0.0,), std=(1 / 255,))
    images = train.images[:: max(1, len(train) // 5000)]
    mean, std = images.mean((0, 2, 3), dtype=np.float64), images.std((0, 2, 3), dtype=np.float64)
    yield Normalization(mean=tuple(mean.round(4).tolist()), std=tuple(np.maximum(std, 1e-3).round(4).tolist()))
    if images.shape[1] == 3:
        yield Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
