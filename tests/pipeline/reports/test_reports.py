"""One verdict, many faces: every format says the same as the verdict object."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from edgeproof.pipeline.cli.terminal import show
from edgeproof.pipeline.gates import Condition
from edgeproof.pipeline.reports import formats, render
from edgeproof.pipeline.results.report import Report, draw_up, engine_subject, regate, torch_subject
from edgeproof.stages.verify.figures import SubjectFigures
from rich.console import Console


def figures(robust: float, routes: dict[str, float], **more: Any) -> SubjectFigures:
    return SubjectFigures.from_json(
        {
            "samples": 300,
            "clean_accuracy": 0.99,
            "clean_accuracy_ci": [0.97, 1.0],
            "robust_accuracy": robust,
            "robust_accuracy_ci": [robust - 0.04, robust + 0.04],
            "routes": routes,
            "findings": [],
            **more,
        }
    )


@pytest.fixture
def report() -> Report:
    student = figures(0.87, {"apgd-ce": 0.877, "apgd-t": 0.87, "fab-t": 0.87, "square": 0.87, "replay": 0.87})
    doubt = {"name": "zero-gradient", "sentence": "some samples have no gradient", "inconclusive": False}
    engine = figures(
        0.86,
        {"replay": 0.88, "whitebox": 0.86, "square": 0.86},
        findings=[doubt],
        retention=0.9885,
        retention_ci=[0.96, 1.01],
        against_student={"lost": 4, "gained": 1, "difference": -0.01, "ci": [-0.0296, 0.0073], "p": 0.375},
        twin_agreement={"clean": 1.0, "adversarial": 0.99},
    )
    latency = {"p50": 0.2, "p90": 0.3, "p99": 0.4}
    bench = {
        "latency_ms": [{"subject": "engine", "batch": 1, **latency}, {"subject": "float", "batch": 1, **latency}],
        "times_slower_than_engine": {"float": {"1": 0.45}},
        "warnings": ["the engine is slower than the float engine at batch 32 (2 ms against 1 ms)"],
    }
    return draw_up(
        name="digits",
        recipe_digest="sha256:0",
        threat={"norm": "Linf", "eps": 0.1},
        subjects=[
            torch_subject(
                "student", "abc", student, 5746, {"size_bytes": 23000, "latency_ms": {"batch": 1, "p50": 0.1}}
            ),
            engine_subject(
                "onnxruntime",
                path="engines/onnxruntime/model.onnx",
                sha256="def",
                precision="int8",
                figures=engine,
                bench=bench,
                times={"size_bytes": 13741, "latency_ms": {"batch": 1, **latency}},
                calibration={"samples": 32, "sha256": "a", "warnings": ["calibration: only 32 images"]},
            ),
        ],
        conditions=[Condition.parse("robust_accuracy", ">= 0.75"), Condition.parse("retention", ">= 0.99")],
    )


def test_every_format_is_rendered_and_says_the_verdict(report: Report):
    files = render(report)
    others = {"summary.md", "junit.xml", "gate.sarif", "metrics.txt", "report.html"}
    assert {"report.json", *others} <= set(files) == set(formats.names())
    assert json.loads(files["report.json"]) == report.data
    assert report.data["verdict"] == "fail"
    assert files["summary.md"].startswith("# digits: FAIL\n\n- **retention >= 0.99: fail.** onnxruntime: 0.9885 misses")


def test_markdown_holds_gates_ledger_routes_latency_and_warnings(report: Report):
    text = render(report)["summary.md"]
    for part in (
        "| retention | >= 0.99 | 0.9885 | [0.960, 1.010] | fail |",
        "| onnxruntime int8 | 0.990 | 0.860 [0.820, 0.900] | -0.010 | 0.989 | 13.4 | 0.200 |",
        "replay 0.880 → whitebox 0.860 → square 0.860",
        "| onnxruntime | 4 | 1 | -0.010 [-0.030, 0.007] | 0.375 |",
        "0.200 / 0.300 / 0.400",
        "0.45 ×",
        "on 300 test images, Linf eps 0.1",
        "pyautoattack",
        "- onnxruntime: zero-gradient: some samples have no gradient",
        "- onnxruntime: the engine is slower than the float engine",
        "- onnxruntime: calibration: only 32 images",
    ):
        assert part in text, part


def test_the_terminal_shows_it_in_80_columns_verdict_last(report: Report):
    out = io.StringIO()
    show(report, Console(file=out, width=80))
    lines = out.getvalue().rstrip().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "digits: FAIL"
    assert any(line.startswith("retention >= 0.99: fail. onnxruntime: 0.9885 misses") for line in lines)
    assert any("0.860 [0.820, 0.900]" in line for line in lines), "figure and interval stay on one line"


def test_corruptions_are_a_column_and_a_table_of_their_own(report: Report):
    corruptions = {
        "severities": [1, 5],
        "constants": "CIFAR-10-C",
        "accuracy": {"contrast": [0.9, 0.5], "jpeg_compression": [0.98, 0.96]},
    }
    more = {"corrupted_accuracy": 0.835, "corrupted_accuracy_ci": [0.79, 0.875], "corruptions": corruptions}
    corrupted = Report({**report.data, "subjects": [{**subject, **more} for subject in report.subjects]})
    text = render(corrupted)["summary.md"]
    assert "| onnxruntime int8 | 0.990 | 0.860 [0.820, 0.900] | -0.010 | 0.989 | 0.835 | 13.4 | 0.200 |" in text
    assert "| onnxruntime | 0.835 [0.790, 0.875] contrast 0.700 jpeg_compression 0.970 |" in text
    assert "under 2 common corruptions, severities 1, 5 of CIFAR-10-C" in text
    assert "corr." not in render(report)["summary.md"]
    out = io.StringIO()
    show(corrupted, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("0.860 [0.820, 0.900]  -0.010  0.989      0.835  13.4  0.200" in line for line in lines)
    assert regate(corrupted, [Condition.parse_line("corrupted_accuracy >= 0.9")]).exit_code == 1


def test_other_gates_on_the_same_figures(report: Report):
    assert regate(report, [Condition.parse_line("retention >= 0.98")]).exit_code == 0
    assert regate(report, [Condition.parse_line("size_bytes < 1000")]).exit_code == 1


@pytest.mark.parametrize("why", [{"doubts": ["onnxruntime: huge-eps: ..."]}, {"missing": ["target 'x' is missing"]}])
def test_gates_judged_later_stay_as_doubtful_as_the_run(report: Report, why: dict[str, list[str]]):
    doubtful = draw_up(
        name="digits",
        recipe_digest="sha256:0",
        threat={"norm": "Linf", "eps": 0.1},
        subjects=report.subjects,
        conditions=[],
        **why,
    )
    assert doubtful.exit_code == 4
    saved = Report(json.loads(doubtful.text()))
    assert regate(saved, [Condition.parse_line("retention >= 0.98")]).exit_code == 4
    assert regate(saved, [Condition.parse_line("retention >= 0.999")]).exit_code == 1


def test_a_report_without_our_lists_keeps_its_own_doubt(report: Report, tmp_path: Path):
    bare = {key: value for key, value in report.data.items() if key not in ("doubts", "missing")}
    for verdict, code in (("pass", 0), ("inconclusive", 4)):
        path = tmp_path / "report.json"
        path.write_text(json.dumps({**bare, "verdict": verdict}))
        assert regate(Report.load(path), [Condition.parse_line("retention >= 0.98")]).exit_code == code
