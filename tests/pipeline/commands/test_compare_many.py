"""Runs side by side: the page, and the table of more than two."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edgeproof.pipeline.cli import main as cli
from edgeproof.pipeline.commands.compare import compare
from edgeproof.pipeline.commands.compare_many import page_of
from edgeproof.pipeline.reports.html.differences import environment_differences, flat, recipe_differences
from edgeproof.pipeline.results.report import Report

from tests.pipeline.reports.html_runs import write_run
from tests.pipeline.reports.test_html import Read


def engine(folder: Path, fallen: list[int], **more) -> Path:
    return write_run(folder, [("onnxruntime", fallen, {})], **more)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    recipe = {"name": "b", "distill": {"epochs": 9}, "targets": ["onnxruntime"]}
    return [
        engine(tmp_path / "a", [1]),
        engine(tmp_path / "b", [1, 2, 3, 4, 6, 7, 8, 9], recipe=recipe),
        engine(tmp_path / "c", [2]),
    ]


def test_the_page_holds_what_compare_says(runs: list[Path]):
    found = Read(page_of(runs))
    paired = {row["run"]: row for row in found.tables["paired.csv"]}
    for letter, other in zip("BC", runs[1:], strict=True):
        expected = compare(runs[0], other)
        row = paired[letter]
        assert (int(row["lost"]), int(row["gained"])) == (len(expected["lost"]), len(expected["gained"]))
        assert [float(row[key]) for key in ("difference", "low", "high", "p")] == [
            expected["difference"],
            *expected["ci"],
            expected["p"],
        ]
    assert "B is less robust than A, by more than chance explains." in found.text
    assert "do not tell A and C apart" in found.text
    assert found.text.count("PASS") == 3
    assert found.headings == [
        "Sample by sample",
        "Ledgers",
        "Accuracy over eps",
        "Size and speed",
        "Recipes",
        "Environments",
    ]
    assert {row["key"]: (row["A"], row["B"]) for row in found.tables["recipes.csv"]}["distill.epochs"] == ("3", "9")
    assert page_of(runs) == page_of(runs)


def test_what_does_not_compare_stands_side_by_side(runs: list[Path], tmp_path: Path):
    other = engine(tmp_path / "other", [1])
    data = json.loads((other / "report.json").read_text())
    data["threat_model"]["eps"] = 0.2
    data["environment"]["machine"]["processor"] = "another"
    (other / "report.json").write_text(json.dumps(data))
    found = Read(page_of([runs[0], other]))
    assert "B does not compare with A sample by sample" in found.text
    assert "The threat models differ: these figures do not compare." in found.text
    assert "different descriptions: no ratio of latencies is given" in found.text
    assert "paired.csv" not in found.tables
    assert {row["median latency"] for row in found.tables["ratios.csv"]} == {""}
    assert found.tables["environments.csv"] == [
        {"what": "machine.processor", "A": "a processor", "B": "another"},
    ]


def test_differences_are_those_of_the_values():
    assert flat({"a": {"b": 1, "c": None}, "d": [1, 2], "e": {}}) == {
        "a.b": "1",
        "a.c": "null",
        "d": "[1, 2]",
        "e": "{}",
    }
    empty = [Report({"environment": {"torch": version}}) for version in ("1", "2")]
    assert recipe_differences(empty) is None
    assert environment_differences(empty) == [("torch", "1", "2")]
    assert environment_differences(empty[:1] * 2) == []


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["edgeproof", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    return (int(done.value.code or 0), *capsys.readouterr())


def test_more_than_two_are_a_table(runs: list[Path], monkeypatch, capsys):
    code, out, _ = command(monkeypatch, capsys, "compare", *runs)
    assert code == 0
    assert max(map(len, out.split("A  ")[0].splitlines())) <= 80
    for words in ("B    0.775   40", "-0.175", "A  " + str(runs[0]), "neither corrected for several comparisons"):
        assert words in out, out
    code, out, _ = command(monkeypatch, capsys, "compare", *runs, "--json")
    found = json.loads(out)
    assert [each["lost"] for each in found["comparisons"]] == [compare(runs[0], other)["lost"] for other in runs[1:]]


def test_pages_are_written_by_the_commands(runs: list[Path], tmp_path: Path, monkeypatch, capsys):
    page = tmp_path / "new" / "c.html"
    code, out, _ = command(monkeypatch, capsys, "compare", *runs[:2], "--html", page)
    assert (code, page.read_text()) == (0, page_of(runs[:2]))
    assert "B is less robust than A" in out, "and the terminal says what it always says"
    alone = tmp_path / "r.html"
    code, out, _ = command(monkeypatch, capsys, "report", runs[0], "--output", alone)
    assert code == 0
    assert "PASS" in out
    assert "PASS" in Read(alone.read_text()).text
    code, _, err = command(monkeypatch, capsys, "compare", *runs[:2], "--html", runs[0])
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = command(monkeypatch, capsys, "compare", runs[0])
    assert (code, "two are needed" in err) == (2, True)


def test_only_common_samples_count(runs: list[Path]):
    path = runs[1] / "verification" / "onnxruntime.npz"
    with np.load(path) as arrays:
        few = {key: value[:10] for key, value in arrays.items()}
    np.savez(path, **few)
    assert {row["samples"] for row in Read(page_of(runs[:2])).tables["paired.csv"]} == {"10"}
