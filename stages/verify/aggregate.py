"""Aggregation: candidates of all subjects replayed on each (transfer), per-sample worst case, figures drawn up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..adversarial_pack_manifest import write_manifest
from ..data import Split
from ..eight_bit import nearest_inside, towards
from ..statistics.estimate import Estimate
from ..statistics.paired import compare_paired
from ..statistics.proportions import retention, retention_interval
from .attack import Attacked
from .checks.base import Finding
from .checks.twin_agreement import TwinAgreement, TwinCounts
from .evaluation import Evaluation
from .evidence.candidates import Candidates
from .figures import BesideStudent, CheckRecord, Stopped, SubjectFigures, TwinShares, write_figures
from .measures.corruption_accuracy import CorruptionAccuracy, corrupted_accuracies
from .measures.curve import Curve
from .measures.examples import EXAMPLES, save_examples
from .routes.base import routes
from .shards.sequential import Sequential
from .subject.subject import Predict, Subject, digest_of_subject, fooled, sees_eight_bits

REPLAY = "replay"


@dataclass(frozen=True)
class Ledger:
    """The subjects of a verification, in the order of its report, and how they are compared.

    Attributes:
        subjects: how to open them.
        student: the float student's name, against which retention is measured and the others are compared sample by
            sample; None where there is none.
        curve_of: the subjects that have a curve.
        classes: names by label.
        about: what the manifest says of all packs: `threat`, `dataset`.
    """

    subjects: Mapping[str, Subject]
    student: str | None = None
    curve_of: Sequence[str] = ()
    classes: Sequence[str] = ()
    about: Mapping[str, Any] = field(default_factory=dict)


def aggregate(
    ledger: Ledger, attacked: Mapping[str, Attacked], evaluation: Evaluation, folder: Path, workers: int = 1
) -> None:
    """Replay all candidates on all subjects and write what the report shows.

    Writes `verification/<subject>.npz` (per-sample bits, the worst case last), `adversarial/<subject>.npz` (the pack of
    candidates), `adversarial/manifest.json`, `verification/figures.json` and `verification/examples.npz`.

    Args:
        ledger: the subjects.
        attacked: what was found on each.
        evaluation: as it was attacked.
        folder: where the files go.
        workers: processes that attack for the curve.
    """
    subjects, student = ledger.subjects, ledger.student
    split, config, stop = evaluation.split, evaluation.config, evaluation.stop
    (folder / "verification").mkdir()
    (folder / "adversarial").mkdir()
    with _opened(subjects) as predictors:
        corrupted: Mapping[str, CorruptionAccuracy] = {}
        if config.corruptions is not None:
            corrupted = corrupted_accuracies(predictors, split, config.corruptions)
        curve = None
        if stop is None:
            with_curve = {name: subjects[name] for name in ledger.curve_of}
            curve = Curve.attacked(with_curve, attacked, evaluation, workers)
            attacked = attacked if curve is None else curve.joined(attacked)
        own = curve.inside if curve is not None else {}
        shape = split.images.shape[1:]
        more = {
            name: Candidates.join([part for part in (own.get(name), evaluation.earlier) if part is not None], shape)
            for name in subjects
        }
        faced = {
            name: _faced(name, attacked, predictors[name], evaluation, more[name], on_grid=sees_eight_bits(subject))
            for name, subject in subjects.items()
        }
        curves = {} if curve is None else curve.figures(faced, predictors)
        figures: dict[str, SubjectFigures] = {}
        for name in subjects:
            faced[name].save_bits(folder / "verification" / f"{name}.npz")
            _save_pack(folder / "adversarial" / f"{name}.npz", attacked[name], split, faced[name].robust)
            figures[name] = replace(
                _figures(faced[name], stop),
                corrupted=corrupted.get(name),
                curve=curves.get(name),
                beside=None if student is None else _beside(faced[student], faced[name], itself=name == student),
            )
        save_examples(folder / EXAMPLES, faced, predictors, split, ledger.classes, student=student)
    digests = {name: digest_of_subject(subject) for name, subject in subjects.items()}
    write_manifest(folder / "adversarial", digests, ledger.about)
    write_figures(folder, figures)


@contextmanager
def _opened(subjects: Mapping[str, Subject]) -> Iterator[dict[str, Predict]]:
    """The subjects' forwards, and an end to the processes that some of them have to themselves."""
    with ExitStack() as opened:
        predictors: dict[str, Predict] = {}
        for name, subject in subjects.items():
            predictors[name] = predict = subject.predictor()
            opened.callback(getattr(predict, "close", lambda: None))
        yield predictors


def _faced(
    name: str,
    attacked: Mapping[str, Attacked],
    predict: Predict,
    evaluation: Evaluation,
    more: Candidates,
    *,
    on_grid: bool,
) -> Attacked:
    """Show a subject the candidates found on all the others, as they are and rounded to 8 bits.

    Args:
        name: the subject's.
        attacked: what was found on each.
        predict: the subject's forward.
        evaluation: as it was attacked.
        more: candidates that were found on the subject itself after its attacks, or in earlier runs.
        on_grid: whether it sees 8-bit images alone, so that no others count.
    """
    split, threat = evaluation.split, evaluation.threat
    mine = attacked[name]
    shape = mine.candidates.images.shape[1:]
    others = [other.candidates for key, other in attacked.items() if key != name]
    pool = Candidates.join([*others, more.of(mine.index)], shape)
    if not len(pool):
        return mine
    rows = pool.rows_in(mine.index)
    clean = split.images[rows]
    rounded = (
        nearest_inside(pool.images, clean, threat.geometry, threat.eps) if on_grid else towards(pool.images, clean)
    )
    by_rounded = fooled(predict, rounded, rows, mine.label)
    broken = by_rounded if on_grid else by_rounded | fooled(predict, pool.images, rows, mine.label)
    eight_bit = mine.eight_bit & ~by_rounded
    if not any(map(len, others)) and not (broken & mine.robust).any():
        return replace(mine, eight_bit=eight_bit)  # nothing of others was replayed
    return replace(mine, bits=_with_replay(mine, broken), eight_bit=eight_bit)


def _with_replay(found: Attacked, broken: np.ndarray) -> dict[str, np.ndarray]:
    """Fold what replay broke into the cumulative bits, from the replay route on (or as the last)."""
    bits: dict[str, np.ndarray] = {}
    reached = False
    for name, column in found.bits.items():
        reached = reached or name == REPLAY
        bits[name] = column & ~broken if reached else column
    if not reached:
        bits[REPLAY] = found.robust & ~broken
    return bits


def _figures(found: Attacked, stop: Sequential | None) -> SubjectFigures:
    """The figures of a subject by itself."""
    samples, summary = len(found.index), found.summary
    assert isinstance(summary["checks"], dict)
    assert isinstance(summary["findings"], list)
    checks = {name: CheckRecord.from_json(check) for name, check in summary["checks"].items()}
    accuracies = {name: Estimate.of_share(int(bits.sum()), samples) for name, bits in found.accuracies().items()}
    if stop is not None:  # no intervals but its own hold then
        own = stop.intervals(found.accuracies())
        accuracies = {name: replace(each, interval=own.get(name)) for name, each in accuracies.items()}
    agreement = None
    twin = TwinCounts(**checks[TwinAgreement.name].counts)
    if twin.clean_compared:
        agreement = TwinShares(
            clean=twin.clean_agreeing / twin.clean_compared,
            adversarial=twin.adversarial_agreeing / max(twin.adversarial_compared, 1),
        )
    return SubjectFigures(
        samples=samples,
        clean_accuracy=accuracies["clean_accuracy"],
        robust_accuracy=accuracies["robust_accuracy"],
        robust_accuracy_8bit=accuracies["robust_accuracy_8bit"],
        routes={name: float(column.mean()) for name, column in found.bits.items()},
        findings=tuple(Finding(**finding) for finding in summary["findings"]),
        checks=checks,
        meanings={each.name: each.summary for each in routes.describe() if each.name in found.bits},
        twin_agreement=agreement,
        stopped=None if stop is None else Stopped(stop.population, stop.error),
    )


def _beside(student: Attacked, found: Attacked, *, itself: bool) -> BesideStudent:
    """What a subject keeps of the float student's robust samples; of the student itself no more than the ratio."""
    value, ends = retention(student.robust, found.robust), retention_interval(student.robust, found.robust)
    kept = None if value is None else Estimate(value, ends)
    return BesideStudent(kept, None if itself else compare_paired(student.robust, found.robust))


def _save_pack(path: Path, found: Attacked, split: Split, robust: np.ndarray) -> None:
    rows = found.candidates.rows_in(found.index)
    np.savez_compressed(
        path,
        index=found.candidates.index,
        label=found.label[rows],
        attack=found.candidates.attack,
        adversarial=found.candidates.images,
        clean=split.images[rows],
        robust=robust[rows],
    )
