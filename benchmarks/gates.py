"""How often gates against a baseline raise false alarms, what they find, and how many samples that takes.

    python benchmarks/gates.py                                # discordances that are given
    python benchmarks/gates.py --bits a0.npz a1.npz b0.npz    # and those of real files of one data set, all pairs
    python benchmarks/gates.py --quick

`--bits` are `verification/<subject>.npz` of runs that ought to pass for each other: the same engine attacked with other
seeds, or exported anew. They are judged as they are; then samples are drawn from their common rows with replacement,
both engines' bits of a row together, in random order so that neither is better, and judged by the product's own
`judge`; a regression is planted by breaking robust samples at random. The other tables draw how many samples are lost
and gained, and judge by the product's tests.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
from edgeproof.pipeline.gates import Condition, judge
from edgeproof.pipeline.gates.pair import Pair
from edgeproof.pipeline.gates.record import Record, SubjectRecord
from edgeproof.stages.statistics.betting import lost_beyond_anytime
from edgeproof.stages.statistics.holm import holm
from edgeproof.stages.statistics.paired import difference_interval, lost_beyond
from edgeproof.stages.statistics.sample_size import ERROR, samples_to_detect
from rich.console import Console
from rich.table import Table
from sequential import simulate

SAMPLES = 1000
RESOLUTION = 0.03
DISCORDANCES = (0.002, 0.01, 0.03, 0.05, 0.08, 0.12)
LOSSES = (0.0, 0.01, 0.02, 0.03, 0.05)
MARGINS = (0.0, 0.01, 0.02, 0.03)
GATES = (1, 2, 4, 8)
KEYS = ("clean_correct", "robust")
Bits = dict[str, np.ndarray]


@cache
def p_value(lost: int, gained: int, samples: int, margin: float) -> float:
    return lost_beyond(lost, gained, samples, margin)


@cache
def excluded(lost: int, gained: int, samples: int, most: float) -> bool:
    """Whether a loss of `most` is excluded, as a pass requires."""
    return -difference_interval(lost, gained, samples, 1 - 2 * ERROR)[0] < most


def outcome(lost: int, gained: int, samples: int, margin: float, others: Sequence[float] = ()) -> str:
    """What one gate comes to beside others of the same verdict, whose p-values are given."""
    if holm([p_value(lost, gained, samples, margin), *others])[0] <= ERROR:
        return "fail"
    return "pass" if excluded(lost, gained, samples, margin + RESOLUTION) else "inconclusive"


def draw(loss: float, discordance: float, samples: int, runs: int, random: np.random.Generator) -> np.ndarray:
    """How many are lost and gained, [runs, 2], where a share `loss` more is lost than gained."""
    noise = max(discordance - loss, 0.0) / 2
    return random.multinomial(samples, (loss + noise, noise, 1 - loss - 2 * noise), size=runs)[:, :2]


def shares(outcomes: Sequence[str]) -> dict[str, float]:
    return {each: outcomes.count(each) / len(outcomes) for each in ("pass", "inconclusive", "fail")}


def table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left")
    for column in columns:
        made.add_column(column, justify="right")
    return made


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


# --- real bits ----------------------------------------------------------------------------------------------------


def read(path: Path) -> Bits:
    """Rows, clean and robust bits of a file, ascending by row."""
    with np.load(path) as arrays:
        order = np.argsort(arrays["index"])
        last = [key for key in arrays if key not in ("index", "label", "clean_correct", "robust_8bit")][-1]
        return {
            "rows": arrays["index"][order],
            "clean_correct": arrays["clean_correct"][order],
            "robust": arrays[last][order],
        }


def pair(before: Bits, after: Bits) -> Pair:
    """A run beside a baseline, from bits [N] of both."""

    def record(bits: Bits) -> Record:
        rows = np.arange(len(bits["robust"]))
        engine = SubjectRecord("engine", "engine", {}, rows, bits, ("all",), {})
        return Record("", "pass", {}, {}, "", {}, 0, "", {}, {"engine": engine})

    return Pair(record(after), record(before), {})


def judged(before: Bits, after: Bits, conditions: Sequence[Condition]) -> str:
    subjects = [{"name": "engine", "kind": "engine"}]
    return judge(conditions, subjects, against=pair(before, after)).outcome


def real(paths: Sequence[Path], runs: int, random: np.random.Generator, console: Console) -> None:
    """False alarms and detection on real bits, by the product's own judge."""
    files = {path: read(path) for path in paths}
    conditions = [Condition.parse_line(f"{figure}_accuracy >= baseline") for figure in ("robust", "clean")]
    found = table(
        f"real bits: robust and clean accuracy >= baseline; {SAMPLES} samples drawn, {runs} runs a row, in %",
        "A / B",
        "rows",
        "lost, gained",
        "as they are: A to B, B to A",
        "nothing changed: fail / inconclusive / pass",
        "3 points lost: fail / inconclusive / pass",
    )
    every: tuple[list[str], list[str], list[str]] = ([], [], [])
    for one, other in combinations(paths, 2):
        _, first, second = np.intersect1d(files[one]["rows"], files[other]["rows"], return_indices=True)
        before, after = ({key: files[path][key][at] for key in KEYS} for path, at in ((one, first), (other, second)))
        lost, gained = (int((a["robust"] & ~b["robust"]).sum()) for a, b in ((before, after), (after, before)))
        plain = [judged(before, after, conditions), judged(after, before, conditions)]
        drawn = [_drawn(before, after, random) for _ in range(runs)]
        unchanged = [judged(*sides, conditions) for sides in drawn]
        planted = [judged(base, _planted(run, random), conditions) for base, run in drawn]
        for total, part in zip(every, (plain, unchanged, planted), strict=True):
            total.extend(part)
        cells = ", ".join(plain), _three(unchanged), _three(planted)
        found.add_row(f"{name(one)} / {name(other)}", str(len(first)), f"{lost}, {gained}", *cells)
    found.add_section()
    found.add_row("all", "", "", *map(_three, every))
    console.print(found)


def _drawn(before: Bits, after: Bits, random: np.random.Generator) -> tuple[Bits, Bits]:
    """Rows with replacement; which side of a row is the baseline's is drawn as well, so that nothing has changed."""
    rows = random.integers(len(before["robust"]), size=SAMPLES)
    swapped = random.random(SAMPLES) < 0.5
    one = {key: np.where(swapped, after[key][rows], before[key][rows]) for key in KEYS}
    other = {key: np.where(swapped, before[key][rows], after[key][rows]) for key in KEYS}
    return one, other


def _planted(run: Bits, random: np.random.Generator) -> Bits:
    robust = run["robust"].copy()
    robust[random.choice(np.flatnonzero(robust), round(0.03 * SAMPLES), replace=False)] = False
    return {**run, "robust": robust}


def _three(outcomes: Sequence[str]) -> str:
    got = shares(outcomes)
    return " / ".join(f"{100 * got[each]:.1f}" for each in ("fail", "inconclusive", "pass"))


def name(path: Path) -> str:
    """The run's name: files lie in `<run>/verification/`."""
    return path.parent.parent.name if path.parent.name == "verification" else path.stem


# --- given discordances -------------------------------------------------------------------------------------------


def by_discordance(runs: int, random: np.random.Generator, console: Console) -> None:
    found = table(
        f"one gate at no margin, {SAMPLES} samples: fail / pass, in % of {runs} runs (the rest is inconclusive)",
        "samples that differ",
        *(f"{100 * loss:g} points lost" for loss in LOSSES),
    )
    for discordance in DISCORDANCES:
        cells = []
        for loss in LOSSES:
            counts = draw(loss, discordance, SAMPLES, runs, random)
            got = shares([outcome(int(lost), int(gained), SAMPLES, 0.0) for lost, gained in counts])
            cells.append(f"{100 * got['fail']:.1f} / {100 * got['pass']:.1f}")
        found.add_row(percent(discordance), *cells)
    console.print(found, "A loss makes at least as many samples differ; the rest of those that differ are even.", "")


def by_margin(runs: int, random: np.random.Generator, console: Console) -> None:
    discordance = 0.05
    found = table(
        f"one gate, {SAMPLES} samples, {percent(discordance)} differ: fail / pass, in % of {runs} runs",
        "margin",
        *(f"{100 * beyond:+g} points beyond it" for beyond in (-0.01, 0.0, 0.01, 0.02, 0.03)),
    )
    for margin in MARGINS:
        cells = []
        for beyond in (-0.01, 0.0, 0.01, 0.02, 0.03):
            loss = margin + beyond
            counts = draw(abs(loss), max(discordance, abs(loss)), SAMPLES, runs, random)
            pairs = counts if loss >= 0 else counts[:, ::-1]
            got = shares([outcome(int(lost), int(gained), SAMPLES, margin) for lost, gained in pairs])
            cells.append(f"{100 * got['fail']:.1f} / {100 * got['pass']:.1f}")
        found.add_row(f"{100 * margin:g} points", *cells)
    console.print(found)


def by_gates(runs: int, random: np.random.Generator, console: Console) -> None:
    discordance = 0.05
    found = table(
        f"several gates at no margin, {SAMPLES} samples, {percent(discordance)} differ, {runs} runs",
        "gates × engines",
        "any fails, nothing changed: independent",
        "the same samples twice",
        "one of them lost 3 points: the verdict fails",
        "that gate passes",
    )
    for gates in GATES:
        even = draw(0.0, discordance, SAMPLES, runs * gates, random).reshape(runs, gates, 2)
        alike = np.repeat(even[:, ::2], 2, axis=1)[:, :gates]
        lossy = draw(0.03, discordance, SAMPLES, runs, random)

        def ps(counts: np.ndarray) -> list[list[float]]:
            return [[p_value(int(lost), int(gained), SAMPLES, 0.0) for lost, gained in run] for run in counts]

        alarms = [np.mean([min(holm(run)) <= ERROR for run in ps(counts)]) for counts in (even, alike)]
        rest = ps(even[:, 1:])
        got = [
            outcome(int(lost), int(gained), SAMPLES, 0.0, others)
            for (lost, gained), others in zip(lossy, rest, strict=True)
        ]
        verdicts = [
            min(holm([p_value(int(lost), int(gained), SAMPLES, 0.0), *others])) <= ERROR
            for (lost, gained), others in zip(lossy, rest, strict=True)
        ]
        found.add_row(
            str(gates),
            *(percent(float(each)) for each in alarms),
            percent(float(np.mean(verdicts))),
            percent(shares(got)["pass"]),
        )
    console.print(found)


def sample_counts(runs: int, random: np.random.Generator, console: Console) -> None:
    losses = (0.01, 0.02, 0.03, 0.05)
    found = table(
        f"samples that find a loss at no margin in 95 % of runs (Connor 1987), and in how many of {runs} they did",
        "samples that differ besides",
        *(f"{100 * loss:g} point{'s' if loss > 0.01 else ''}" for loss in losses),
    )
    for besides in (0.0, 0.01, 0.03, 0.05, 0.1):
        cells = []
        for loss in losses:
            samples = samples_to_detect(loss, loss + besides)
            counts = draw(loss, loss + besides, samples, runs, random)
            power = np.mean([p_value(int(lost), int(gained), samples, 0.0) <= ERROR for lost, gained in counts])
            cells.append(f"{samples:,} ({100 * power:.0f} %)")
        found.add_row(percent(besides), *cells)
    console.print(found)


# --- runs that end by themselves ----------------------------------------------------------------------------------


def sequential(runs: int, random: np.random.Generator, console: Console) -> None:
    """The absolute gate's samples, and the paired one's errors when somebody looks every 25 samples."""
    few = max(runs // 2, 20)
    found = table(
        f"--sequential: one gate `robust_accuracy >= limit` on 1,000 and 10,000 samples, 0.6 robust, {few} runs",
        "samples there are",
        "truth - limit",
        "wrong",
        "samples, mean",
        "median",
    )
    for size in (1_000, 10_000):
        population = np.arange(size) < 0.6 * size
        for place, difference in enumerate((-0.1, -0.05, -0.03, 0.03, 0.05, 0.1)):
            got = simulate(population, 0.6 - difference, few, place)
            cells = percent(got["wrong"]), f"{got['mean']:.0f}", f"{got['median']:.0f}"
            found.add_row(f"{size:,}", f"{difference:+.2f}", *cells)
    console.print(found)
    paired = table(
        f"a sequential run against a baseline: looks every 25 of {SAMPLES} samples, {runs} runs, no margin",
        "samples that differ",
        "lost",
        "fixed-size test ever at 5 %",
        "betting ever at 5 %",
        "samples until betting knew, mean",
    )
    looks = np.arange(25, SAMPLES + 1, 25)
    for discordance, loss in ((0.05, 0.0), (0.1, 0.0), (0.05, 0.03), (0.1, 0.05), (0.1, 0.1)):
        noise = max(discordance - loss, 0.0) / 2
        kinds = random.choice(3, p=(loss + noise, noise, 1 - loss - 2 * noise), size=(runs, SAMPLES))
        lost, gained = ((kinds == kind).cumsum(1)[:, looks - 1] for kind in (0, 1))
        fixed, betting, known = 0, 0, []
        for run in range(runs):
            cells = [(int(lost[run, at]), int(gained[run, at]), int(samples)) for at, samples in enumerate(looks)]
            fixed += any(p_value(*cell, 0.0) <= ERROR for cell in cells)
            first = next((cell[2] for cell in cells if anytime(*cell) <= ERROR), None)
            betting += first is not None
            known.append(first or SAMPLES)
        rates = (percent(each / runs) for each in (fixed, betting))
        paired.add_row(percent(discordance), f"{100 * loss:g} points", *rates, f"{np.mean(known):.0f}")
    console.print(paired)


@cache
def anytime(lost: int, gained: int, samples: int) -> float:
    return lost_beyond_anytime(lost, gained, samples, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=Path, nargs="+", default=[], help="verification/<subject>.npz of several runs")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the runs")
    arguments = parser.parse_args()
    runs = arguments.runs // 20 if arguments.quick else arguments.runs
    console = Console(width=150)
    if arguments.bits:
        real(arguments.bits, max(runs // 4, 20), np.random.default_rng(0), console)
    for part in (by_discordance, by_margin, by_gates, sample_counts):
        part(runs, np.random.default_rng(0), console)
    sequential(max(runs // 4, 20), np.random.default_rng(0), console)


if __name__ == "__main__":
    main()
