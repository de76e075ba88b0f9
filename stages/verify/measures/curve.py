"""Accuracy-over-eps curve: what is left in smaller and in wider balls than the threat model's.

Every sample gets the size of its smallest known adversarial example, from the candidates of the verification and from
attacks in the other balls (`other_radii.py`). Accuracy at a radius is the share of samples that have none of that size:
it falls with the radius, and at eps itself it is the verdict's. All of them are upper bounds, for nobody knows the
examples that were not found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...data import Split
from ...eight_bit import nearest_inside
from ...statistics.estimate import Estimate
from ...threat import ThreatModel
from ..attacks.autoattack import ROUNDING, Attack
from ..evidence.candidates import Candidates
from ..subject.subject import Predict, Subject, is_correct, sees_eight_bits
from .curve_attacks import attack_other_radii

if TYPE_CHECKING:
    from ..attack import Attacked
    from ..evaluation import Evaluation
    from .curve_config import CurveConfig


@dataclass(frozen=True)
class RadiusVerdict:
    """What a verification said of the samples of a curve, `[n]` booleans each."""

    clean_correct: np.ndarray
    robust: np.ndarray


@dataclass(frozen=True)
class Curve:
    """The attacks in other balls, and what they come to.

    Attributes:
        found: by subject, the end points of those attacks.
        inside: by subject, those of them that lie in the threat model's own ball: whatever they fool is not robust.
        evaluation: the verification's.
        curve: which balls.
        rows: the samples that the curve is about, of the verification's.
        eight_bit: the subjects that see 8-bit images alone.
    """

    found: Mapping[str, Candidates]
    inside: Mapping[str, Candidates]
    evaluation: Evaluation
    curve: CurveConfig
    rows: np.ndarray
    eight_bit: frozenset[str] = frozenset()

    @classmethod
    def attacked(
        cls,
        subjects: Mapping[str, Subject],
        attacked: Mapping[str, Attacked],
        evaluation: Evaluation,
        workers: int,
    ) -> Curve | None:
        """Attack the subjects in other balls; None where the config wants no curve."""
        threat, config = evaluation.threat, evaluation.config
        if config.curve is None or not subjects:
            return None
        rows = config.curve.draw(len(evaluation.split), config.seed)
        drawn = evaluation.split.take(rows)
        found = attack_other_radii(
            subjects,
            broken={name: attacked[name].clean_correct[rows] & ~attacked[name].robust[rows] for name in subjects},
            robust={name: attacked[name].robust[rows] for name in subjects},
            split=drawn,
            threat=threat,
            config=config,
            curve=config.curve,
            workers=workers,
        )
        eight_bit = frozenset(name for name in found if sees_eight_bits(subjects[name]))
        found = {name: on_grid(each, drawn, threat) if name in eight_bit else each for name, each in found.items()}
        inside = {name: within(each, drawn, threat) for name, each in found.items()}
        return cls(found, inside, evaluation, config.curve, rows, eight_bit)

    def joined(self, attacked: Mapping[str, Attacked]) -> dict[str, Attacked]:
        """The attacked subjects, whose candidates now hold those that lie in the ball, for all to face."""
        shape = self.evaluation.split.images.shape[1:]
        return {
            name: replace(each, candidates=Candidates.join([each.candidates, self.inside[name]], shape))
            if name in self.inside
            else each
            for name, each in attacked.items()
        }

    def figures(self, faced: Mapping[str, Attacked], predictors: Mapping[str, Predict]) -> dict[str, RadiusCurve]:
        """The curve of every subject whose gradients could be followed, by its name.

        Args:
            faced: the subjects after each has faced everybody's candidates: their verdicts.
            predictors: their forwards.
        """
        threat, seed = self.evaluation.threat, self.evaluation.config.seed
        drawn = self.evaluation.split.take(self.rows)
        everything = [each.candidates for each in faced.values()] + list(self.found.values())
        known = Candidates.join(everything, drawn.images.shape[1:]).of(drawn.index)
        radii = sorted({threat.eps, *(ball.eps for ball in self.curve.balls(threat))})
        curves: dict[str, RadiusCurve] = {}
        for name in self.found:
            verdict = RadiusVerdict(faced[name].clean_correct[self.rows], faced[name].robust[self.rows])
            if len(self.found[name]) or not verdict.clean_correct.any():
                shown = on_grid(known, drawn, threat) if name in self.eight_bit else known
                distances = smallest_known(predictors[name], verdict, drawn, shown, threat)
                curves[name] = RadiusCurve.drawn_up(distances, verdict, radii, self.curve.attacks, seed)
        return curves


def sizes_of(candidates: Candidates, split: Split, threat: ThreatModel) -> np.ndarray:
    """How far each candidate `[M]` is from the clean image of its sample, in the threat model's norm."""
    delta = candidates.images - split.images[candidates.rows_in(split.index)]
    return threat.geometry.size(torch.from_numpy(delta)).numpy().astype(np.float64)


def on_grid(candidates: Candidates, split: Split, threat: ThreatModel) -> Candidates:
    """The candidates as 8-bit images, none of them further from its clean image than it was."""
    clean = split.images[candidates.rows_in(split.index)]
    sizes = sizes_of(candidates, split, threat)
    return replace(candidates, images=nearest_inside(candidates.images, clean, threat.geometry, sizes))


def within(candidates: Candidates, split: Split, threat: ThreatModel) -> Candidates:
    """The candidates that lie in the threat model's own ball."""
    inside = sizes_of(candidates, split, threat) <= threat.eps + ROUNDING
    return Candidates(candidates.index[inside], candidates.attack[inside], candidates.images[inside])


def smallest_known(
    predict: Predict, verdict: RadiusVerdict, split: Split, candidates: Candidates, threat: ThreatModel
) -> np.ndarray:
    """Return the size `[n]` of each sample's smallest known adversarial example.

    Args:
        predict: the subject's forward.
        verdict: on these samples; it decides at eps, whatever the candidates say.
        split: the samples, n of them.
        candidates: of these samples, in balls of any size.
        threat: the ball.

    Returns:
        0 where the clean image is wrong already, at most eps where the verdict is that the sample is broken, above eps
        (infinite where nothing is known) where it is robust.
    """
    found = np.where(verdict.robust, np.inf, threat.eps)
    rows, size = candidates.rows_in(split.index), sizes_of(candidates, split, threat)
    outside = size > threat.eps + ROUNDING
    # Whatever else there is says nothing new: in the ball everything was shown to the subject already.
    news = np.where(verdict.robust[rows], outside, (size < threat.eps - ROUNDING) & verdict.clean_correct[rows])
    rows, size = rows[news], size[news]
    if len(rows):
        fooled = ~is_correct(predict(candidates.images[news]), split.labels[rows])
        np.minimum.at(found, rows[fooled], size[fooled])
    return np.where(verdict.clean_correct, found, 0.0)


@dataclass(frozen=True)
class RadiusCurve:
    """Accuracy of one subject over eps.

    Attributes:
        samples: that it is about.
        seed: of their draw.
        attacks: that were run beside those of the verification.
        radii: from 0 on, rising.
        accuracy: at each radius: the share of the samples that withstands what is known, with its Clopper-Pearson
            interval.
    """

    samples: int
    seed: int
    attacks: tuple[str, ...]
    radii: tuple[float, ...]
    accuracy: tuple[Estimate, ...]

    @classmethod
    def drawn_up(
        cls, distances: np.ndarray, verdict: RadiusVerdict, radii: Sequence[float], attacks: Sequence[Attack], seed: int
    ) -> RadiusCurve:
        """Draw up a subject's curve.

        Args:
            distances: of `smallest_known`, `[n]`.
            verdict: on the same samples.
            radii: absolute ones, above 0.
            attacks: that were run beside those of the verification.
            seed: of the draw.
        """
        count = len(distances)
        left = [
            int(verdict.clean_correct.sum()),
            *(int((verdict.clean_correct & (distances > radius + ROUNDING)).sum()) for radius in radii),
        ]
        shares = tuple(Estimate.of_share(each, count) for each in left)
        return cls(count, seed, tuple(attacks), (0.0, *radii), shares)

    def as_json(self) -> dict[str, Any]:
        """`{samples, seed, attacks, radii, accuracy, accuracy_ci}`, the last three of one length."""
        return {
            "samples": self.samples,
            "seed": self.seed,
            "attacks": list(self.attacks),
            "radii": list(self.radii),
            "accuracy": [each.value for each in self.accuracy],
            "accuracy_ci": [None if each.interval is None else list(each.interval) for each in self.accuracy],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RadiusCurve:
        """Read what `as_json` wrote."""
        points = zip(data["accuracy"], data["accuracy_ci"], strict=True)
        return cls(
            data["samples"],
            data["seed"],
            tuple(data["attacks"]),
            tuple(data["radii"]),
            tuple(Estimate(value, None if ends is None else (ends[0], ends[1])) for value, ends in points),
        )
