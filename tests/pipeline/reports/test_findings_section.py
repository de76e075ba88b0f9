"""The table of the checks on a run's page: every counter, from runs of this version and of the first one."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from edgeproof.pipeline.reports.html.page import page
from edgeproof.pipeline.reports.html.run import RunView
from edgeproof.pipeline.reports.html.sections.findings import findings_section
from edgeproof.pipeline.results.report import Report
from edgeproof.stages.verify.checks.base import as_json, in_order
from edgeproof.stages.verify.evidence.counts import Counts

from tests.pipeline.reports.html_runs import write_run

NAMES = [field.name for check in in_order() for field in fields(check.counts)]
VALUES = {name: 1000 + place for place, name in enumerate(NAMES)}
COUNTS = Counts(
    *(check.counts(**{field.name: VALUES[field.name] for field in fields(check.counts)}) for check in in_order())
)


def cells(folder: Path, figures: Any) -> list[tuple[str, ...]]:
    run = write_run(folder, files={"verification/figures.json": json.dumps(figures)})
    section = findings_section(RunView(Report.load(run / "report.json")))
    assert section is not None
    (table,) = [table for table in section.tables if table.name == "checks"]
    return [tuple(row) for row in table.rows]


@pytest.mark.parametrize("figures", [{"checks": as_json(COUNTS)}, {"counts": VALUES}])
def test_every_counter_is_on_the_page(figures: dict[str, Any], tmp_path: Path):
    rows = cells(tmp_path / "run", {"student": figures})
    assert {row[0] for row in rows} == {"student"}
    assert {cell for row in rows for cell in (row[2], row[4])} - {""} == {str(value) for value in VALUES.values()}


def test_a_doubt_is_told_once_at_the_top_and_a_warning_here(tmp_path: Path):
    doubt = "huge-eps: 3 of 4 samples survive an eps at which nothing can be robust"
    engine = ("onnxruntime", [1], {"warnings": [doubt, "slow: slower than float"]})
    run = write_run(tmp_path / "run", (engine,), doubts=(f"onnxruntime: {doubt}",))
    report = Report.load(run / "report.json")
    section = findings_section(RunView(report))
    assert section is not None
    assert section.lead == ["What makes the run inconclusive stands at the top."]
    assert section.tables[0].rows == [("onnxruntime", "slow: slower than float")]
    assert page(report).count(doubt) == 1


def test_a_check_that_is_not_installed_here_has_its_row_and_what_was_not_asked_has_none(tmp_path: Path):
    rows = [["images looked at", 30, "darker than gray", 4], ["images smelt at", 0, "sweet", 0]]
    found = cells(tmp_path / "run", {"student": {"checks": {"elsewhere": {"counts": {"dark": 4}, "rows": rows}}}})
    assert found == [("student", "images looked at", "30", "darker than gray", "4")]
