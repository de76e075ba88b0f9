"""Devices and adapters of a run: the same on the page, in Markdown, on the terminal and as `report.json` has them."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from edgeproof.pipeline.bundle.device.printing import show_devices
from edgeproof.pipeline.cli.terminal import show
from edgeproof.pipeline.reports import formats
from edgeproof.pipeline.results.device_verdict import with_devices
from edgeproof.pipeline.results.report import Report
from rich.console import Console

from tests.finished_run import bits, finished


def device(**more: Any) -> dict[str, Any]:
    return {
        "device": "a board",
        "engine": "onnxruntime",
        "target": "onnxruntime",
        "origin": "built",
        "engine_sha256": "e" * 64,
        "samples": 200,
        "candidates": 1,
        "outcome": "fail",
        "reasons": ["lost 5 of 200 robust samples, 2 are allowed"],
        "clean_accuracy": 1.0,
        "robust_accuracy": 0.975,
        "run": {"clean_accuracy": 1.0, "robust_accuracy": 1.0},
        "lost": [3, 5, 7, 9, 11],
        "gained": [],
        "allowed": 2,
        "latency_ms": {"p50": 1.25, "p90": 2, "p99": 3, "calls": 200},
        "machine": {"processor": "Cortex-A76"},
        **more,
    }


def told(report: Report) -> dict[str, str]:
    terminal = io.StringIO()
    show(report, Console(file=terminal, width=80))
    page = re.sub(r"<(script|style|svg).*?</\1>|<[^>]*>", " ", formats["report.html"](report), flags=re.DOTALL)
    return {
        "terminal": terminal.getvalue(),
        "summary": re.sub(r"[|\\]", " ", formats["summary.md"](report)),
        "page": page,
    }


@pytest.fixture
def report(tmp_path: Path) -> Report:
    found = Report.load(finished(tmp_path / "run", student=bits(200)) / "report.json")
    return Report(with_devices(json.loads(json.dumps(dict(found.data))) | {"devices": [device()]}), found.files)


@pytest.mark.parametrize("medium", ["terminal", "summary", "page"])
def test_every_medium_shows_what_a_device_brought_back(report: Report, medium: str):
    shown = " ".join(told(report)[medium].split())
    assert "a board onnxruntime fail 0.975 1.000 5 2" in shown
    assert "FAIL" in shown
    assert "lost 5 of 200 robust samples, 2 are allowed" in shown


def test_the_page_says_what_ran_on_the_device_and_which_rows_it_lost(report: Report):
    shown = " ".join(told(report)["page"].split())
    assert f"onnxruntime, built {'e' * 64} 1.250 Cortex-A76 3, 5, 7, 9, 11" in shown
    assert "A replay is no attack" in shown


def test_device_ends_with_the_verdict_as_all_others_say_it(report: Report):
    out = io.StringIO()
    show_devices(report.data, Console(file=out, width=200))
    assert "1 adversarial example of 200 samples" in out.getvalue()
    assert out.getvalue().splitlines()[-1].startswith("digits: FAIL (onnxruntime on a board: lost 5 of 200")
    passed = device(outcome="pass", reasons=[])
    measured = with_devices({**report.data, "verdict": "measured", "reasons": [], "devices": [passed]})
    out = io.StringIO()
    show_devices(measured, Console(file=out, width=200))
    assert out.getvalue().splitlines()[-1] == "digits: MEASURED: no gate was asked for"


def test_the_head_names_the_vendors_file_its_adapter_and_the_surrogate(tmp_path: Path):
    more = {
        "path": "adapted/onnxruntime/model.onnx",
        "sha256": "a" * 64,
        "given": {"path": "vendor.onnx", "sha256": "f" * 64},
        "adapter": ["mean 0.5", "std 0.5"],
        "surrogate": {"path": "float.onnx", "sha256": "b" * 64, "adapter": ["scale 255"]},
    }
    run = finished(tmp_path / "run", more={"onnxruntime": more})
    head = told(Report.load(run / "report.json"))["page"].partition("Robust accuracy: the worst case")[0]
    head = " ".join(head.split())
    assert f"model onnxruntime, vendor.onnx SHA-256 {'f' * 64}" in head
    assert f"mean 0.5, std 0.5; attacked as adapted/onnxruntime/model.onnx SHA-256 {'a' * 64}" in head
    assert f"surrogate float.onnx behind its adapter (scale 255) SHA-256 {'b' * 64}" in head
