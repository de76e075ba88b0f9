"""How often the sequential verdict errs, and how many samples it takes: simulated, on real robust bits if given.

    python benchmarks/sequential.py                                  # populations of 1,000 and 10,000 samples
    python benchmarks/sequential.py --bits runs/digits/verification/onnxruntime.npz

A run draws without replacement, looks where `edgeproof verify --sequential` does, and stops when its gate
`robust_accuracy >= LIMIT` is decided at 5 % error. Wrong: it says pass where the population's accuracy misses the
limit, or fail where it meets it. Missed: at some look, stopped or not, the interval did not hold the truth.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgeproof.stages.verify import VerifyConfig
from edgeproof.stages.verify.attack import between_looks
from edgeproof.stages.verify.shards.sequential import ERROR, Sequential
from rich.console import Console
from rich.table import Table

DIFFERENCES = (-0.1, -0.05, -0.03, -0.01, 0.0, 0.01, 0.03, 0.05, 0.1)


@dataclass(frozen=True)
class Limit:
    """`robust_accuracy >= limit`."""

    limit: float
    figure: str = "robust_accuracy"

    def holds(self, value: float) -> bool:
        """Whether an accuracy meets it."""
        return value >= self.limit


def simulate(population: np.ndarray, limit: float, runs: int, seed: int) -> dict[str, float]:
    """Shares of runs that err, miss and decide, and the median and mean number of samples."""
    gate, truth = Limit(limit), float(population.mean())
    stop = Sequential((gate,), len(population))
    random = np.random.default_rng(seed)
    looks = [int(rows[-1]) + 1 for rows in between_looks(len(population), VerifyConfig().shard_size)]
    wrong, missed, taken = 0, 0, []
    for _ in range(runs):
        bits = random.permutation(population)
        decided, outside = None, False
        for drawn in looks:
            low, high = stop.intervals({"robust_accuracy": bits[:drawn]})["robust_accuracy"]
            outside |= not low - 1e-12 <= truth <= high + 1e-12
            if decided is None and gate.holds(low) == gate.holds(high):
                decided = drawn, gate.holds(low)
        assert decided is not None, "the whole population decides every gate"
        taken.append(decided[0])
        wrong += decided[1] != gate.holds(truth)
        missed += outside
    return {
        "wrong": wrong / runs,
        "missed": missed / runs,
        "median": float(np.median(taken)),
        "mean": float(np.mean(taken)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=Path, help="verification/<subject>.npz of a run (default: 60 %% of them robust)")
    parser.add_argument("--runs", type=int, default=400)
    arguments = parser.parse_args()
    if arguments.bits:
        with np.load(arguments.bits) as arrays:
            populations = [arrays[list(arrays)[-1]]]
    else:
        populations = [np.arange(count) < 0.6 * count for count in (1_000, 10_000)]
    console = Console(width=110)
    for population in populations:
        size, truth = len(population), float(population.mean())
        table = Table(title=f"{size:,} samples, {truth:.3f} of them robust, {arguments.runs} runs, error {ERROR:.0%}")
        for column in ("limit", "truth - limit", "wrong", "missed", "samples, median", "mean", "of all"):
            table.add_column(column, justify="right")
        for place, difference in enumerate(DIFFERENCES):
            limit = truth - difference
            found = simulate(population, limit, arguments.runs, place)
            table.add_row(
                f"{limit:.3f}",
                f"{difference:+.2f}",
                f"{found['wrong']:.3f}",
                f"{found['missed']:.3f}",
                f"{found['median']:.0f}",
                f"{found['mean']:.0f}",
                f"{found['mean'] / size:.2f}",
            )
        console.print(table)


if __name__ == "__main__":
    main()
