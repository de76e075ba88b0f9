"""Sequential testing: anytime-valid verdicts, samples in random order until every gate is decided.

Source: Waudby-Smith & Ramdas, "Confidence sequences for sampling without replacement", NeurIPS 2020 (arXiv
2006.04347), section 2: the prior-posterior-ratio confidence sequence for the number of successes in a finite
population, here with the uniform prior. It holds at all sample sizes at once, so that one may look after every
sample and stop for any reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

# The chance that any gate of a run is decided wrongly, over all looks.
ERROR = 0.05
ACCURACIES = ("clean_accuracy", "robust_accuracy", "robust_accuracy_8bit")


class Gate(Protocol):
    """A condition on a figure."""

    @property
    def figure(self) -> str:
        """The name of the figure."""
        ...

    def holds(self, value: float) -> bool:
        """Whether a value meets it."""
        ...


@cache
def confidence_sequence(successes: int, drawn: int, population: int, error: float = ERROR) -> tuple[float, float]:
    """Interval of the share of successes in a population, after so many draws without replacement.

    With the uniform prior the ratio of prior to posterior at n successes is 1 / ((drawn + 1) P(successes | n)), with
    the hypergeometric probability P; the interval is where it stays below 1 / error.

    Args:
        successes: found so far.
        drawn: samples so far, at most `population`.
        population: how many there are.
        error: the chance that the interval misses the truth at any time, in (0, 1).

    Returns:
        Lowest and highest share, in [0, 1]; both the exact share once all are drawn.
    """
    from scipy.stats import hypergeom  # over a second, which only sequential runs take

    possible = np.arange(successes, population - (drawn - successes) + 1)
    log_chance = hypergeom.logpmf(successes, population, possible, drawn)
    inside = possible[log_chance > np.log(error) - np.log(drawn + 1)]
    return float(inside.min() / population), float(inside.max() / population)


@dataclass(frozen=True)
class Sequential:
    """Stops as soon as every gate on an accuracy is decided.

    The error is shared evenly by the accuracies that have gates; gates on other figures need no samples.

    Attributes:
        gates: the conditions.
        population: how many samples the accuracies are about; those attacked are a random draw from them.
        error: the chance that any gate is decided wrongly.
    """

    gates: tuple[Gate, ...]
    population: int
    error: float = ERROR

    @property
    def accuracies(self) -> tuple[str, ...]:
        """The accuracies that have gates."""
        return tuple(name for name in ACCURACIES if any(gate.figure == name for gate in self.gates))

    def intervals(self, bits: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
        """Intervals of the accuracies that have gates, after the samples whose bits `[N]` are given for each."""
        found = {name: self.interval(name, int(bits[name].sum()), len(bits[name])) for name in self.accuracies}
        return {name: interval for name, interval in found.items() if interval is not None}

    def interval(self, accuracy: str, successes: int, drawn: int) -> tuple[float, float] | None:
        """Interval of one accuracy after so many draws; None where it has no gate, and so no share of the error."""
        if accuracy not in self.accuracies:
            return None
        return confidence_sequence(successes, drawn, self.population, self.error / len(self.accuracies))

    def decided(self, bits: Mapping[str, np.ndarray]) -> bool:
        """Whether every gate holds, or fails, everywhere in its figure's interval, after the samples given."""
        found = self.intervals(bits)
        return all(
            len({gate.holds(bound) for bound in found[gate.figure]}) == 1 for gate in self.gates if gate.figure in found
        )
