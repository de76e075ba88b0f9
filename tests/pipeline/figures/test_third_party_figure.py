"""A figure in one file of somebody else's: it is gated, measured, shown and kept in baselines like ours."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from edgeproof.core import registry
from edgeproof.core.errors import StageError, UsageError
from edgeproof.pipeline.card.text import card_text
from edgeproof.pipeline.cli.terminal import show
from edgeproof.pipeline.commands.compare_many import page_of
from edgeproof.pipeline.commands.gate import gate
from edgeproof.pipeline.figures.base import figures
from edgeproof.pipeline.figures.table import find_figure, modules
from edgeproof.pipeline.recipe.recipe import schema
from edgeproof.pipeline.reports import formats
from edgeproof.pipeline.results.report import Report
from rich.console import Console

from tests.finished_run import bits, finished

# All that a new figure takes, and the line `surprised = "toy_figure:SURPRISED"` of its package's entry points.
FILE = '''"""How often the engine was surprised, which a check counts."""

from edgeproof.pipeline.figures.base import Column, Figure
from edgeproof.pipeline.figures.reading import number

SURPRISED = Figure(
    "surprised",
    "surprise",
    "number",
    number("checks", "toy-check", "surprised"),
    falls=False,
    help="how many images surprised the engine",
    advice="Surprise it less.",
    column=Column(
        {"text": "surp.", "page": "surprised", "runs": "surprised", "card": "surprised"},
        lambda value, _: f"{value:.0f} times",
    ),
)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_figure.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    figures.names()  # ours are there, whatever comes
    monkeypatch.setattr(figures, "_entries", dict(figures._entries))
    monkeypatch.setattr(figures, "_points", {})
    monkeypatch.setattr(figures, "_loaded", False)
    lines = {"surprised": "toy_figure:SURPRISED", "absent": "toy_figure:MISSING", "wrong": "toy_figure:number"}
    points = [EntryPoint(name, value, "edgeproof.figures") for name, value in lines.items()]
    for module in (registry, __import__("edgeproof.pipeline.figures.table", fromlist=["table"])):
        monkeypatch.setattr(module, "entry_points", lambda *, group: points if group == "edgeproof.figures" else [])


def run_of(folder: Path, surprised: int) -> Path:
    counts = {"onnxruntime": surprised, "openvino": 3}
    more = {name: {"checks": {"toy-check": {"surprised": count}}} for name, count in counts.items()}
    return finished(folder, {name: bits(60, range(5)) for name in counts}, more=more)


@pytest.mark.usefixtures("toy")
def test_a_figure_of_one_file_is_everywhere(tmp_path: Path):
    run, worse = run_of(tmp_path / "run", 7), run_of(tmp_path / "worse", 8)
    assert gate(run, require=["surprised <= 7"]).report.exit_code == 0
    failed = gate(run, require=["surprised < 7"]).report
    assert failed.exit_code == 1
    assert r"onnxruntime: 7 misses \< 7. Surprise it less." in formats["summary.md"](failed)
    assert '"Surprise."' in formats["gate.sarif"](failed)

    report = replace(Report.load(run / "report.json"), files=failed.files)
    metrics = formats["metrics.txt"](report)
    assert '# HELP edgeproof_surprised surprise\nedgeproof_surprised{subject="onnxruntime"} 7\n' in metrics
    out = io.StringIO()
    show(report, Console(file=out, width=80))
    head, *rows = (line.split() for line in out.getvalue().splitlines()[:4])
    assert head[-1] == "surp."
    assert sum(row[-2:] == ["7", "times"] for row in rows) == 1
    assert "surp. |\n" in formats["summary.md"](report)
    page = formats["report.html"](report)
    assert page.count("7 times") == 1, "the ledger"
    assert re.search(r">\s*surprise\s*<", page), "the table of all figures"
    assert "8 times" in page_of([run, worse])
    assert "| surprised |" in card_text(run, report, {}, None)
    assert schema()["properties"]["gates"]["properties"]["surprised"]["description"].startswith("how many images")

    kept = tmp_path / "baseline.json"
    assert gate(run, require=["surprised <= 7"], baseline=kept, update_baseline=True).written == kept
    content = json.loads(kept.read_text())["subjects"]
    assert content["onnxruntime"]["figures"]["surprised"] == {"value": 7.0}
    one = {"require": ["surprised <= baseline"], "baseline": kept}
    for path, words in ((run, "surprise is 7, the baseline's 7"), (worse, "surprise is 8, the baseline's 7")):
        (found,) = gate(path, **one).report.data["gates"]
        assert found["reason"].startswith(words)
    assert gate(worse, **one).report.exit_code == 1

    assert figures["surprised"].__doc__ == "How many images surprised the engine."
    assert "toy_figure" in modules(), "a changed file draws the page anew"


def test_without_its_package_it_is_an_unknown_name(tmp_path: Path):
    assert find_figure("surprised") is None
    with pytest.raises(UsageError, match=r"unknown figure 'surprised'.*known: clean_accuracy, robust_accuracy"):
        gate(run_of(tmp_path / "run", 7), require=["surprised <= 7"])


@pytest.mark.usefixtures("toy")
def test_broken_ones_are_one_line_where_they_are_asked_for_and_no_matter_elsewhere(tmp_path: Path):
    run = run_of(tmp_path / "run", 7)
    assert gate(run, require=["surprised <= 7"]).report.exit_code == 0
    for name, words in (("absent", "does not load"), ("wrong", "is a function, no Figure")):
        with pytest.raises(UsageError, match=f"the plug-in figure '{name}'.*{words}"):
            gate(run, require=[f"{name} <= 7"])
    failing = replace(figures["surprised"], value=lambda subject: subject["nothing"])
    with pytest.raises(StageError, match="figure surprised of onnxruntime: "):
        failing.value({"name": "onnxruntime"})
