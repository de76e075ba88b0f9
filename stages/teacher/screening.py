"""Teacher screening: which of several candidates is likely to make the most robust student.

The most robust teacher often does not. Lee & Chung, "Toward Understanding Adversarial Distillation: Why Robust
Teachers Fail", ICML 2026 (arXiv 2605.21999): a student memorises noise where the teacher is confident on training
images that the student cannot learn robustly, and the teacher's predictive entropy there foretells how robust the
student becomes. Theirs are the images that dozens of trained students fail on; ours, without training any, are
those that the candidates themselves fail on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.errors import UsageError
from ..data import Dataset, Split
from ..distill.training.selection import pgd_attack
from ..plausibility import CHANCE
from ..threat import ThreatModel
from .acceptance import check_logits, predict

# A candidate is strong enough with these shares of the best candidate's accuracies. They are wide on purpose: the
# WRN-34-10 teachers that make the best students on CIFAR-10 and -100 (Chen2021LTD) have 0.77 and 0.79 of the AutoAttack
# accuracy of RobustBench's most robust models, and 0.91 and 0.88 of their clean accuracy.
STRONG_PGD = 0.75
STRONG_CLEAN = 0.85
# Mean distance between the two largest logits to which they are scaled before the attack. An overconfident
# candidate's softmax saturates, its gradient vanishes, and plain PGD finds it robust: logits times ten took a digits
# model from 0.13 to 0.34 at eps 0.15. At 10 the attack was as strong as plain PGD or stronger on every model tried.
_MARGIN = 10.0
_BATCH = 128


@dataclass(frozen=True)
class Answers:
    """What one candidate does on the sample, image by image.

    Attributes:
        clean: whether it is right, bool `[N]`.
        robust: whether it is right and stays so under PGD, bool `[N]`.
        entropy: entropy of its softmax at x', in nats, `[N]`.
        images_per_second: forward passes, in batches of 128, on the GPU where there is one.
    """

    clean: NDArray[np.bool_]
    robust: NDArray[np.bool_]
    entropy: NDArray[np.float64]
    images_per_second: float


@dataclass(frozen=True)
class Sample:
    """The images that every candidate answers: the first `held_out` ones are of the validation split, the others
    of the training split; the test split is not touched.
    """

    split: Split
    held_out: int


def draw_sample(dataset: Dataset, count: int, seed: int) -> Sample:
    """Draw half of the images from validation and half from training, by class, and more where one has too few.

    Raises:
        UsageError: there are not that many, or fewer than two are asked for.
    """
    validation, train = dataset.validation, dataset.train
    if not 2 <= count <= len(validation) + len(train):
        most = len(validation) + len(train)
        raise UsageError(f"samples: must be from 2 to {most}, the validation and training images, got {count}")
    held_out = min(max(count // 2, count - len(train)), len(validation))
    parts = [_stratified(validation, held_out, seed), _stratified(train, count - held_out, seed)]
    images, labels, index = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels", "index")
    )
    return Sample(Split(images, labels, index), held_out)


def screen(
    model: nn.Module,
    sample: Sample,
    threat: ThreatModel,
    where: str,
    *,
    steps: int = 20,
    seed: int = 0,
    on_batch: Callable[[int, int], None] = lambda *_: None,
) -> Answers:
    """Ask and attack one candidate.

    Args:
        model: pixels in [0, 1] in, logits out; eval mode, frozen.
        sample: the images.
        threat: the ball of the attack.
        where: the candidate, for messages.
        steps: PGD steps.
        seed: of the attack's start.
        on_batch: called with batches done and to do.

    Raises:
        UsageError: it fails on the images, or answers with something else than finite logits.
    """
    split = sample.split
    clean = predict(model, split, where)
    check_logits(clean, where)
    started = time.perf_counter()
    predict(model, split, where)
    rate = len(split) / (time.perf_counter() - started)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    target = _Rescaled(model, clean).to(device)
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    attacked: list[Tensor] = []
    batches = list(zip(images.split(_BATCH), labels.split(_BATCH), strict=True))
    for number, (x, y) in enumerate(batches):
        x_adv = pgd_attack(target, x.to(device), y.to(device), threat, steps=steps, seed=seed)
        with torch.no_grad():
            attacked.append(model(x_adv).cpu())
        on_batch(number + 1, len(batches))
    model.to("cpu")
    found = torch.cat(attacked)
    right = (clean.argmax(1) == labels).numpy()
    return Answers(right, right & (found.argmax(1) == labels).numpy(), _entropy(found), rate)


def guesses(answers: Answers, sample: Sample) -> bool:
    """Whether a candidate's clean accuracy is no better than always giving the most frequent class."""
    from scipy.stats import binom  # over a second

    labels = sample.split.labels
    chance = np.bincount(labels).max() / len(labels)
    return bool(binom.sf(answers.clean.sum() - 1, len(labels), chance) > CHANCE)


def hard_images(found: Sequence[Answers], sample: Sample) -> NDArray[np.bool_]:
    """The images, `[N]`, on which at least half of the candidates fail under PGD; those that guess have no vote."""
    voters = [answers for answers in found if not guesses(answers, sample)] or found
    failed = np.mean([~answers.robust for answers in voters], axis=0)
    return failed >= 0.5


def suggested_order(clean: Sequence[float], robust: Sequence[float], entropy: Sequence[float | None]) -> list[int]:
    """Order candidates: those strong enough by entropy on hard images, the others after them by PGD accuracy.

    Args:
        clean: clean accuracy of each.
        robust: PGD accuracy of each.
        entropy: mean entropy on hard images; None where there is none, and PGD accuracy alone decides.

    Returns:
        Places of the candidates, the most promising first.
    """
    strong = strong_enough(clean, robust)

    def key(place: int) -> tuple[bool, float, float]:
        spread = entropy[place]
        return not strong[place], -spread if strong[place] and spread is not None else 0.0, -robust[place]

    return sorted(range(len(robust)), key=key)


def strong_enough(clean: Sequence[float], robust: Sequence[float]) -> list[bool]:
    """Which candidates keep 3/4 of the best PGD accuracy and 85 % of the best clean accuracy."""
    least_clean, least_robust = STRONG_CLEAN * max(clean), STRONG_PGD * max(robust)
    return [c >= least_clean and r >= least_robust for c, r in zip(clean, robust, strict=True)]


class _Rescaled(nn.Module):
    """A model whose logits are equally far apart whatever its temperature; its decisions are the model's own."""

    def __init__(self, model: nn.Module, answers: Tensor) -> None:
        super().__init__()
        self.model = model
        best, second = answers.topk(2, dim=1)[0].T
        margin = float((best - second).mean())
        self.scale = _MARGIN / margin if margin > 0 else 1.0

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images) * self.scale


def _entropy(logits: Tensor) -> NDArray[np.float64]:
    log_p = F.log_softmax(logits.double(), dim=1)
    return -(log_p.exp() * log_p).sum(1).numpy()


def _stratified(split: Split, count: int, seed: int) -> Split:
    """Draw rows so that every class has its share, to within one image."""
    order = np.random.default_rng(seed).permutation(len(split))
    place = np.empty(len(split))
    for label in np.unique(split.labels):
        mine = order[split.labels[order] == label]
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return split.take(np.sort(np.argsort(place, kind="stable")[:count]))
