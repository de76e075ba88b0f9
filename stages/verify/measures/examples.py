"""Adversarial examples for people to look at: samples that fell, chosen by rule and not by eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data import Split
from ..attack import Attacked
from ..evidence.candidates import Candidates
from ..subject.subject import Predict, is_correct

EXAMPLES = "verification/examples.npz"
# Of each subject.
SHOWN = 8
NO_ANSWER = -1


def save_examples(
    path: Path,
    faced: Mapping[str, Attacked],
    predictors: Mapping[str, Predict],
    split: Split,
    classes: Sequence[str],
    *,
    student: str | None = None,
) -> None:
    """Write the examples of all subjects to one `.npz`.

    Of each subject the first samples in the data set's order that it loses and the student does not, then the first
    ones that both lose, up to `SHOWN`; samples whose clean image is wrong already are not among them. Of each sample
    the first candidate that fools the subject: of its own, then of the others in ledger order.

    Writes `classes` `[K]`, the names, and M rows: `subject`, `index`, `label`, `lost` (whether the student keeps it),
    `attack`, `found_on` (the subject that was attacked), `clean` and `adversarial` `[M, C, H, W]` as float16 (the exact
    ones lie in `adversarial/`), and the predictions `clean_prediction`, `adversarial_prediction` of the subject,
    `student_clean_prediction`, `student_adversarial_prediction`; -1 where there is no answer, or no student.

    Args:
        path: the file.
        faced: the subjects, after each has faced everybody's candidates.
        predictors: their forwards.
        split: the samples.
        classes: their names, by label.
        student: the float student's name, if there is one.
    """
    rows: list[dict[str, Any]] = []
    for name, found in faced.items():
        order = [name, *(other for other in faced if other != name)]
        kept = faced[student].robust if student not in (None, name) else np.zeros(len(found.index), bool)
        rows += [
            {"subject": name, "lost": bool(kept[sample]), **example}
            for sample in _chosen(found, kept)
            if (example := _example(sample, order, faced, predictors, split, student)) is not None
        ]
    shape = (0, *split.images.shape[1:])
    columns: dict[str, np.ndarray] = {key: np.array([row[key] for row in rows]) for key in (rows[0] if rows else ())}
    if not rows:
        columns = {"subject": np.zeros(0, "U1"), "clean": np.zeros(shape), "adversarial": np.zeros(shape)}
    for key in ("clean", "adversarial"):
        columns[key] = columns[key].astype(np.float16)
    np.savez_compressed(path, classes=np.array(list(classes), dtype=np.str_), **columns)  # pyright: ignore[reportArgumentType]


def _chosen(found: Attacked, kept: np.ndarray) -> np.ndarray:
    """The samples to show: those that the student keeps first, each kind in the data set's order."""
    fallen = found.clean_correct & ~found.robust
    order = np.lexsort((found.index, ~kept))
    return order[fallen[order]][:SHOWN]


def _example(
    sample: int,
    order: Sequence[str],
    faced: Mapping[str, Attacked],
    predictors: Mapping[str, Predict],
    split: Split,
    student: str | None,
) -> dict[str, Any] | None:
    """Show one sample; None where no image is known that fools the subject (a route of others' may keep none)."""
    name, index = order[0], split.index[sample : sample + 1]
    label = split.labels[sample]
    for owner in order:
        candidates: Candidates = faced[owner].candidates.of(index)
        if not len(candidates):
            continue
        logits = predictors[name](candidates.images)
        wrong = np.flatnonzero(~is_correct(logits, np.full(len(candidates), label)))
        if not len(wrong):
            continue
        clean, adversarial = split.images[sample], candidates.images[wrong[0]]
        pair = np.stack([clean, adversarial])
        mine = _answers(predictors[name](pair))
        students = _answers(predictors[student](pair)) if student not in (None, name) else [NO_ANSWER, NO_ANSWER]
        return {
            "index": int(index[0]),
            "label": int(label),
            "attack": str(candidates.attack[wrong[0]]),
            "found_on": owner,
            "clean": clean,
            "adversarial": adversarial,
            "clean_prediction": mine[0],
            "adversarial_prediction": mine[1],
            "student_clean_prediction": students[0],
            "student_adversarial_prediction": students[1],
        }
    return None


def _answers(logits: np.ndarray) -> list[int]:
    return [int(row.argmax()) if np.isfinite(row).all() else NO_ANSWER for row in logits]
