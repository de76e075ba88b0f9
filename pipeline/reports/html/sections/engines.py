"""Engines side by side: robust accuracy, latency and size, and which engine no other one dominates (Pareto front)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..blocks import Section, Table, bound, interval, number
from ..run import RunView
from .speed import speed_plot

# Medians of latency that lie closer together than this share of the larger one count as equal.
_ALIKE = 0.05


def engines_section(run: RunView) -> Section | None:
    """All engines in one table, and what each loses to another one; None where there are fewer than two."""
    if len(run.engines) < 2:
        return None
    fine = [each for each in run.engines if not _not_compared(run, each)]
    found = {each["name"]: [_Pair.of(run, other, each) for other in fine if other is not each] for each in fine}
    timed = [each for each in run.engines if each.get("latency_ms") and each.get("size_bytes")]
    return Section(
        name="engines",
        title="Which engine ships",
        lead=[*_lead(run, fine, found)] if fine else ["No engine can be compared."],
        tables=[_table(run, found)],
        plots=[speed_plot(run, "engines", "latency", timed, ", engines alone")] if len(timed) > 1 else [],
        notes=[
            "Dominated: another engine is at least as good in robust accuracy, median latency and size, and better in "
            "one of them. More robust is what the paired 95 % interval on the same samples says, as robust what "
            "withstands on the very same ones, and all else is open. Medians within "
            f"{100 * _ALIKE:.0f} % count as equal; latency is this machine's: {run.machine}."
        ],
    )


@dataclass(frozen=True)
class _Pair:
    """One engine held against another: 1 better, 0 equal, -1 worse; of robustness None where that is open."""

    label: str
    robust: int | None
    others: Mapping[str, int]

    @classmethod
    def of(cls, run: RunView, one: Mapping[str, Any], other: Mapping[str, Any]) -> _Pair:
        """Hold `one` against `other`."""
        signs = {
            "faster": _sign(_latency(other), _latency(one), _ALIKE),
            "smaller": _sign(other.get("size_bytes"), one.get("size_bytes"), 0),
        }
        return cls(run.label(one), _more_robust(run, one, other), signs)

    @property
    def better(self) -> list[str]:
        """In what it is better than the other."""
        signs = {"more robust": self.robust or 0, **self.others}
        return [word for word, sign in signs.items() if sign > 0]

    @property
    def worse(self) -> bool:
        """Whether it is worse in something."""
        return self.robust == -1 or min(self.others.values()) < 0

    @property
    def dominates(self) -> bool:
        """Whether it is known to dominate the other."""
        return bool(self.better) and not self.worse and self.robust is not None

    @property
    def words(self) -> str:
        """What it does better, where it does nothing worse; else nothing."""
        if self.worse or not self.better:
            return ""
        robust = {None: "robust accuracies not told apart", 0: "as robust"}.get(self.robust, "")
        return f"{self.label} ({', '.join([*self.better, *([robust] if robust else [])])})"


def _lead(run: RunView, fine: Sequence[Mapping[str, Any]], found: Mapping[str, Sequence[_Pair]]) -> list[str]:
    left = [each for each in fine if not any(pair.dominates for pair in found[each["name"]])]
    names = ", ".join(run.label(each) for each in left)
    sentence = f"Not dominated in robust accuracy, latency and size: {names}."
    if len(left) > 1 and any(pair.robust is None for each in left for pair in found[each["name"]]):
        sentence += " These samples do not tell all their robust accuracies apart."
    return [sentence]


def _table(run: RunView, found: Mapping[str, Sequence[_Pair]]) -> Table:
    rows: list[tuple[str, ...]] = []
    for engine in run.engines:
        said = "; ".join(filter(None, (pair.words for pair in found.get(engine["name"], ()))))
        size = engine.get("size_bytes")
        rows.append(
            (
                run.label(engine),
                f"{number(engine['robust_accuracy'])} {interval(engine.get('robust_accuracy_ci'))}".rstrip(),
                number(engine["clean_accuracy"]),
                number(_latency(engine)),
                number(None if size is None else size / 1024, 1),
                said or _not_compared(run, engine) or "no other",
            )
        )
    return Table(
        "engines",
        "All engines",
        ("engine", "robust", "clean", "latency, ms", "size, KiB", "outdone by"),
        rows,
        (
            ("engine", "robust", "low", "high", "clean", "latency_ms", "size_bytes"),
            [
                (
                    engine["name"],
                    engine["robust_accuracy"],
                    bound(engine.get("robust_accuracy_ci"), 0),
                    bound(engine.get("robust_accuracy_ci"), 1),
                    engine["clean_accuracy"],
                    _latency(engine),
                    engine.get("size_bytes"),
                )
                for engine in run.engines
            ],
        ),
        stacked=True,
    )


def _not_compared(run: RunView, engine: Mapping[str, Any]) -> str:
    """Why an engine is not held against the others; empty where it is."""
    if any(doubt.startswith(f"{engine['name']}: ") for doubt in run.report.data.get("doubts", ())):
        return "not compared: its figures do not count, see Findings"
    known = _latency(engine) is not None and engine.get("size_bytes")
    return "" if known else "not compared: its latency or size is not known"


def _latency(engine: Mapping[str, Any]) -> float | None:
    return (engine.get("latency_ms") or {}).get("p50")


def _sign(first: float | None, second: float | None, alike: float) -> int:
    """1 where the first is larger, -1 where the second is, 0 where they are equal or one is not known."""
    if first is None or second is None or abs(first - second) <= alike * max(first, second):
        return 0
    return 1 if first > second else -1


def _more_robust(run: RunView, one: Mapping[str, Any], other: Mapping[str, Any]) -> int | None:
    """Whether one engine is more robust than another: 1, 0, -1, or None where the samples do not tell."""
    paired = run.paired(other, one)
    if paired is not None:
        low, high = paired.interval
        return 1 if low > 0 else -1 if high < 0 else 0 if not paired.lost and not paired.gained else None
    ours, theirs = (each.get("robust_accuracy_ci") for each in (one, other))
    if not ours or not theirs:
        return None
    return 1 if ours[0] > theirs[1] else -1 if ours[1] < theirs[0] else None
