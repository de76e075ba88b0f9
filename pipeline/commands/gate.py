"""Gate command: gates judged on a finished run, by themselves and against a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import UsageError
from ..figures.table import routes_of
from ..gates import STOPPING, Condition
from ..gates.baseline import Baseline, save
from ..gates.bound_to import KEY, BoundTo, is_binding
from ..gates.pair import beside
from ..gates.record_of_run import record_of
from ..recipe.read import read_recipe
from ..recipe.validation_errors import checked
from ..results.finished_run import finished_report
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
    recipe: Path | str | None = None,
    bound_to: Sequence[str] = (),
    baseline: Path | str | None = None,
    update_baseline: bool = False,
    force: bool = False,
) -> Gated:
    """Judge gates on a finished run.

    Args:
        run: the run's folder, or its report.json.
        require: a condition such as `retention >= 0.97` or `robust_accuracy >= baseline - 0.03` (default: the run's own
            gates, and against a baseline, where none of them is relative, one on either accuracy besides).
        recipe: a recipe whose `gates` are judged instead of the run's own, such as the one of the branch that a merge
            request goes to.
        bound_to: what the run must have been, or the gates fail: `eps=8/255`, `norm=Linf`, `dataset=NAME`,
            `samples=1000` at least, `effort=standard` (default: what the recipe's `gates.bound_to`, the baseline and
            the run say).
        baseline: the file that gates against a baseline compare with, sample by sample.
        update_baseline: write this run into the baseline's file instead, if it passes its absolute gates.
        force: with --update-baseline, even if it does not.

    Raises:
        UsageError: a file is missing, broken or altered, a gate is wrong, a relative gate has no baseline, or the run
            and the baseline are of other threat models or data sets.
    """
    report = finished_report(run)
    folder = report.files.folder
    assert folder is not None, "it was read from there"
    theirs = None if recipe is None else _gates_of(Path(recipe))
    conditions = _conditions(report, require, theirs, recipe)
    before = None if baseline is None or update_baseline else Baseline.load(Path(baseline))
    bound = _bound_to(bound_to, (theirs or {}).get(KEY), recipe)
    if before is not None:
        bound = bound.over(before.record.bound_to)
    if update_baseline:
        if baseline is None:
            raise UsageError("--update-baseline: name the file with --baseline FILE")
        absolute = [each for each in conditions if not each.relative]
        return _update(regate(report, absolute, bound_to=bound), folder, Path(baseline), force=force)
    if force:
        raise UsageError("--force: goes with --update-baseline")
    if before is None:
        for each in conditions:
            if each.relative:
                raise UsageError(f"{each.figure} {each.text}: name the baseline with --baseline FILE")
        if not conditions:
            raise UsageError(f"{recipe or run}: has no gates; give some with --require, or a baseline with --baseline")
        return Gated(regate(report, conditions, bound_to=bound))
    if not require and not any(each.relative for each in conditions):
        conditions += [Condition.parse_line(line) for line in DEFAULT]
    return Gated(regate(report, conditions, beside(record_of(report.data, folder), before), bound))


def _conditions(
    report: Report, require: Sequence[str], theirs: Mapping[str, Any] | None, recipe: Path | str | None
) -> list[Condition]:
    if require:
        asked = report.data.get("verify", {}).get("routes", ())
        known = dict.fromkeys([*routes_of(report.subjects), *asked])
        return [Condition.parse_line(line, known) for line in require]
    if theirs is not None:
        try:
            return [Condition.parse(name, limit) for name, limit in theirs.items() if name != KEY]
        except UsageError as error:
            raise UsageError(f"--recipe {recipe}: gates: {error}") from None
    gates = [gate for gate in report.data.get("gates", ()) if not is_binding(gate)]
    return [Condition.parse(gate["name"], gate["limit"]) for gate in gates]


def _gates_of(recipe: Path) -> Mapping[str, Any]:
    """The gates of a recipe, of which nothing else is read."""
    gates = read_recipe(recipe).get("gates") or {}
    if not isinstance(gates, dict):
        raise UsageError(f"--recipe {recipe}: gates: must be a mapping of figures to limits, got {gates!r}")
    return gates


def _bound_to(said: Sequence[str], theirs: Any, recipe: Path | str | None) -> BoundTo:
    pairs = [each.partition("=") for each in said]
    for key, separator, _ in pairs:
        if not separator:
            raise UsageError(f"--for {key!r}: must be of the form KEY=VALUE ({', '.join(BoundTo.model_fields)})")
    asked = checked(BoundTo, {key: value for key, _, value in pairs}, "--for ")
    if not isinstance(theirs, dict | None):
        raise UsageError(f"--recipe {recipe}: gates.{KEY}: must be a mapping of keys to values, got {theirs!r}")
    return asked if theirs is None else asked.over(checked(BoundTo, theirs, f"--recipe {recipe}: gates.{KEY}."))


def _update(judged: Report, folder: Path, baseline: Path, *, force: bool) -> Gated:
    if judged.data["verdict"] in STOPPING and not force:
        why = "; ".join(judged.data["reasons"])
        return Gated(
            judged,
            refused=f"{baseline} was not written, as the run does not pass by itself ({why}); "
            "--force writes it all the same",
        )
    save(record_of(judged.data, folder), baseline)
    return Gated(judged, written=baseline)
