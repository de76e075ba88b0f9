"""Clauses on accuracy and robustness that a run has evidence for: EU AI Act Art. 15, ISO/IEC 24029-2, DIS 24029-3.

What a clause asks is said in our own words, as far as a measurement can speak of it. Law, standard and draft are kept
apart, and nothing here says that one of them is met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..figures.base import Figure


@dataclass(frozen=True)
class Clause:
    """One clause.

    Attributes:
        name: as the source numbers or names it.
        asks: what it is about.
        shows: which figures are evidence for it.
        not_covered: what it is about as well, and no measurement of ours.
        to_fill: what the provider has to say.
        devices: whether replays on devices are evidence for it.
        attacks: whether what each attack left standing, and what speaks against the figures, is evidence for it.
    """

    name: str
    asks: str
    shows: Callable[[Figure], bool]
    not_covered: tuple[str, ...] = ()
    to_fill: tuple[str, ...] = ()
    devices: bool = False
    attacks: bool = False


@dataclass(frozen=True)
class Source:
    """A law, a standard or a draft, and its clauses."""

    name: str
    status: str
    clauses: tuple[Clause, ...]


def _named(*names: str) -> Callable[[Figure], bool]:
    return lambda figure: figure.name in names


def _attacked(figure: Figure) -> bool:
    return figure.attacked


SOURCES = (
    Source(
        "Regulation (EU) 2024/1689 (AI Act)",
        "law; whether and from when its duties apply to a system is for its provider to find out",
        (
            Clause(
                "Article 15(1) and (3)",
                "level of accuracy, and its declaration with its metrics in the instructions of use",
                _named("clean_accuracy"),
                ("Consistency over the lifetime: every figure is of one build on one data set.",),
                ("intended purpose", "accuracy as declared in the instructions of use", "plan of monitoring"),
            ),
            Clause(
                "Article 15(4)",
                "resilience against errors, faults and inconsistencies, of the environment too",
                _named("corrupted_accuracy"),
                (
                    "Faults of hardware, of sensors, and of what surrounds the model.",
                    "Feedback loops of systems that go on learning.",
                ),
                ("redundancy and fail-safe plans", "measures against feedback loops"),
                devices=True,
            ),
            Clause(
                "Article 15(5)",
                "resilience against attempts of third parties to alter its use, outputs or performance: here by "
                "adversarial examples (model evasion)",
                _attacked,
                (
                    "Poisoned data and poisoned pre-trained components, confidentiality attacks, flaws of the model.",
                    "How attacks are detected, answered and recovered from in operation.",
                ),
                (
                    "measures against poisoning and against confidentiality attacks",
                    "detection of attacks, and response to them",
                    "residual risk, and who accepts it",
                ),
                attacks=True,
            ),
        ),
    ),
    Source(
        "ISO/IEC 24029-2:2023",
        "published standard, on formal methods; attacks are none: they give counterexamples or stay inconclusive, "
        "and never a proof",
        (
            Clause(
                "Stability",
                "whether the answer stays the same in a domain around an input: counterexamples found by attacks",
                _named("robust_accuracy", "robust_accuracy_8bit"),
                ("A proof: a sample without a counterexample is not shown to have none.",),
            ),
            Clause(
                "Sensitivity, relevance, reachability",
                "properties that are analysed formally",
                _named(),
                ("All three.",),
            ),
        ),
    ),
    Source(
        "ISO/IEC DIS 24029-3",
        "draft, on statistical methods; it may still change",
        (
            Clause(
                "Measuring adversarial robustness",
                "robustness as a statistic: sample, estimate, interval, attacks",
                _attacked,
                ("Other distributions of inputs than the data set's.",),
                attacks=True,
            ),
        ),
    ),
)
