"""Engines side by side: which one is called dominated, and which question stays open."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from edgeproof.pipeline.reports.html.blocks import Section
from edgeproof.pipeline.reports.html.run import RunView
from edgeproof.pipeline.reports.html.sections.engines import engines_section
from edgeproof.pipeline.results.report import Report
from edgeproof.stages.statistics.paired import difference_interval

from tests.pipeline.reports.html_runs import BUILD, write_run

FEW, MANY = [1, 2, 3], list(range(6, 30))


def engine(name: str, fallen: list[int], milliseconds: float, size: int) -> tuple[str, list[int], dict[str, Any]]:
    latency = {"batch": 1, "p50": milliseconds, "p90": 2 * milliseconds, "p99": 3 * milliseconds}
    return name, fallen, {"latency_ms": latency, "size_bytes": size}


def section_of(folder: Path, *engines: Any, **more: Any) -> Section:
    write_run(folder, (BUILD[1], *engines), gates=(), **more)
    found = engines_section(RunView(Report.load(folder / "report.json")))
    assert found is not None
    return found


def outdone(section: Section) -> dict[str, str]:
    return {row[0].removesuffix(" int8"): row[-1] for row in section.tables[0].rows}


def undominated(section: Section) -> list[str]:
    found = re.fullmatch(
        r"Not dominated in robust accuracy, latency and size: (.*?)\.( These samples .*)?", section.lead[0]
    )
    assert found is not None
    return found[1].replace(" int8", "").split(", ")


def test_an_engine_of_the_same_bits_that_is_faster_and_smaller_dominates(tmp_path: Path):
    found = section_of(tmp_path / "run", engine("one", FEW, 1.0, 2000), engine("other", FEW, 0.5, 1000))
    assert undominated(found) == ["other"]
    assert outdone(found) == {"one": "other int8 (faster, smaller, as robust)", "other": "no other"}


def test_where_the_interval_holds_zero_nobody_is_called_dominated(tmp_path: Path):
    low, high = difference_interval(1, 0, 40)
    assert low < 0 < high
    found = section_of(tmp_path / "run", engine("one", FEW, 1.0, 2000), engine("other", [*FEW, 4], 0.5, 1000))
    assert undominated(found) == ["one", "other"]
    assert "do not tell all their robust accuracies apart" in found.lead[0]
    assert outdone(found)["one"] == "other int8 (faster, smaller, robust accuracies not told apart)"


def test_a_less_robust_one_dominates_nothing_and_is_dominated_where_it_is_no_faster(tmp_path: Path):
    fast = section_of(tmp_path / "fast", engine("one", FEW, 1.0, 2000), engine("weak", MANY, 0.5, 1000))
    assert undominated(fast) == ["one", "weak"]
    assert outdone(fast) == {"one": "no other", "weak": "no other"}
    assert "apart" not in fast.lead[0]
    slow = section_of(tmp_path / "slow", engine("one", FEW, 1.0, 1000), engine("weak", MANY, 1.02, 1000))
    assert undominated(slow) == ["one"]
    assert outdone(slow)["weak"] == "one int8 (more robust)", "2 % of latency are no difference"


def test_who_is_in_doubt_or_was_not_timed_is_not_compared(tmp_path: Path):
    doubt = "other: huge-eps: 3 of 4 samples survive"
    found = section_of(
        tmp_path / "run",
        engine("one", FEW, 1.0, 2000),
        engine("other", [1], 0.5, 1000),
        engine("third", FEW, 2, 1),
        doubts=(doubt,),
    )
    assert outdone(found)["other"] == "not compared: its figures do not count, see Findings"
    assert undominated(found) == ["one", "third"]
    untimed = ("third", FEW, {"latency_ms": {}, "size_bytes": 1})
    found = section_of(tmp_path / "untimed", engine("one", FEW, 1.0, 2000), untimed)
    assert outdone(found)["third"] == "not compared: its latency or size is not known"


@pytest.mark.parametrize("count", [0, 1])
def test_one_engine_has_nobody_beside_it(tmp_path: Path, count: int):
    write_run(tmp_path / "run", (BUILD[1], *(engine("one", FEW, 1.0, 1) for _ in range(count))), gates=())
    assert engines_section(RunView(Report.load(tmp_path / "run" / "report.json"))) is None
