"""Gate command: gates judged on a finished run, by themselves and against a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UsageError
from ..figures.table import routes_of
from ..gates import Condition
from ..gates.baseline import Baseline, save
from ..gates.pair import Pair, beside
from ..gates.record_of_run import record_of
from ..results.report import Report, regate

# What a baseline is for, where no gate says it.
DEFAULT = ("robust_accuracy >= baseline", "clean_accuracy >= baseline")


@dataclass(frozen=True)
class Gated:
    """What came of judging a run.

    Attributes:
        report: the run's report with these gates.
        written: the baseline that was made of the run; None where none was.
        refused: why none was made, though it was asked for; empty otherwise.
    """

    report: Report
    written: Path | None = None
    refused: str = ""


def gate(
    run: Path | str,
    *,
    require: Sequence[str] = (),
    baseline: Path | str | None = None,
    update_baseline: bool = False,
    force: bool = False,
) -> Gated:
    """Judge gates on a finished run.

    Args:
        run: the run's folder, or its report.json.
        require: a condition such as `retention >= 0.97` or `robust_accuracy >= baseline - 0.03` (default: the run's own
            gates, and against a baseline, where none of them is relative, one on either accuracy besides).
        baseline: the file that gates against a baseline compare with, sample by sample.
        update_baseline: write this run into the baseline's file instead, if it passes its absolute gates.
        force: with --update-baseline, even if it does not.

    Raises:
        UsageError: a file is missing or broken, a gate is wrong, a relative gate has no baseline, or the run and the
            baseline are of other threat models or data sets.
    """
    path = Path(run) / "report.json" if Path(run).is_dir() else Path(run)
    report = Report.load(path)
    conditions = _conditions(report, require, path)
    if update_baseline:
        if baseline is None:
            raise UsageError("--update-baseline: name the file with --baseline FILE")
        return _update(report, [each for each in conditions if not each.relative], path, Path(baseline), force=force)
    if force:
        raise UsageError("--force: goes with --update-baseline")
    if baseline is None:
        for each in conditions:
            if each.relative:
                raise UsageError(f"{each.figure} {each.text}: name the baseline with --baseline FILE")
        if not conditions:
            raise UsageError(f"{run}: has no gates; give some with --require, or a baseline with --baseline")
        return Gated(regate(report, conditions))
    if not require and not any(each.relative for each in conditions):
        conditions += [Condition.parse_line(line) for line in DEFAULT]
    return Gated(regate(report, conditions, _pair(report, path, Path(baseline))))


def _conditions(report: Report, require: Sequence[str], path: Path) -> list[Condition]:
    if require:
        asked = report.data.get("verify", {}).get("routes", ())
        known = dict.fromkeys([*routes_of(report.subjects), *asked])
        return [Condition.parse_line(line, known) for line in require]
    try:
        return [Condition.parse(entry["name"], entry["limit"]) for entry in report.data["gates"]]
    except (KeyError, TypeError):
        raise UsageError(f"{path}: its gates are not a report's; give some with --require") from None


def _pair(report: Report, path: Path, baseline: Path) -> Pair:
    before = Baseline.load(baseline)
    return beside(record_of(report.data, path.parent), before)


def _update(report: Report, absolute: Sequence[Condition], path: Path, baseline: Path, *, force: bool) -> Gated:
    judged = regate(report, absolute)
    if judged.data["verdict"] != "pass" and not force:
        why = "; ".join(judged.data["reasons"])
        return Gated(
            judged,
            refused=f"{baseline} was not written, as the run does not pass by itself ({why}); "
            "--force writes it all the same",
        )
    save(record_of(judged.data, path.parent), baseline)
    return Gated(judged, written=baseline)
