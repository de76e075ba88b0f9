"""Names and findings of a hostile report on a terminal, in a log, on a model card; the other formats beside it."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from edgeproof.core.reading.printable import in_markdown, in_one_line, printable
from edgeproof.pipeline.card import make_card
from edgeproof.pipeline.card.make_card import model_card
from edgeproof.pipeline.cli.main import main
from edgeproof.pipeline.cli.terminal import show
from edgeproof.pipeline.results.finished_run import unaltered_report
from edgeproof.pipeline.results.report import Report
from edgeproof.pipeline.terminal import Terminal

from tests.pipeline.reports.test_report_formats import report

EVIL = (
    "---\nx: y\r\n---\n::error::no \x1b[31m<script>|`x`\x00 [l](http://e) \u202e ::set-output name=a::b ##[add-path]/"
)
_UNSEEN = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800]"
# As the runner of GitHub's Actions finds commands: at the beginning of a line, or in the old form anywhere.
_COMMAND = re.compile(r"^\s*::[\w-]+[^:]*::|##\[", re.MULTILINE)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run all of whose texts are hostile."""
    gate = {"name": EVIL, "limit": EVIL, "value": None, "ci": None, "outcome": "fail", "reason": EVIL, "subject": EVIL}
    found = report(gate, verdict="fail", name=EVIL, doubts=[EVIL], missing=[EVIL], reasons=[EVIL], location=EVIL)
    subjects = [{**each, "name": EVIL.replace("/", ""), "warnings": [EVIL]} for each in found.subjects]
    subjects[-1] |= {"precision": EVIL, "options": {EVIL: EVIL}, "routes": {EVIL: 0.5}, "sha256": EVIL}
    environment = {"attacks": EVIL, EVIL: EVIL, "machine": {"system": EVIL}}
    data = {**found.data, "subjects": subjects, "environment": environment, "dataset": {"name": EVIL, "digest": EVIL}}
    data["threat_model"] = {"norm": EVIL, "eps": 0.1}
    for subject in subjects:
        subject["name"] = subject["name"].replace("\0", "")  # no file has such a name
    (tmp_path / "report.json").write_text(json.dumps(data))
    (tmp_path / "adversarial").mkdir()
    pack = {"file": "a.npz", "sha256": "0", "subject": EVIL, "attacks": {EVIL: 1}}
    about = {"threat": {}, "dataset": {"name": EVIL, "digest": EVIL}, "packs": [pack]}
    (tmp_path / "adversarial" / "manifest.json").write_text(json.dumps(about))
    (tmp_path / "recipe.yaml").write_text(
        json.dumps({"data": {"dataset": "x\n::error::y"}, "teacher": {"model": "<b>"}})
    )
    return tmp_path


@pytest.mark.parametrize("width", [20, 80, 200])
def test_a_terminal_shows_names_as_text(run: Path, width: int):
    text = io.StringIO()
    show(Report.load(run / "report.json"), Terminal(file=text, width=width))
    assert not re.search(_UNSEEN, text.getvalue())
    assert not _COMMAND.search(text.getvalue())


def test_a_terminal_keeps_its_own_colours():
    text = io.StringIO()
    console = Terminal(file=text, force_terminal=True, color_system="standard")
    console.print("a\x1b[31mb", style="red", markup=False, highlight=False)
    assert text.getvalue() == "\x1b[31ma\\x1b[31mb\x1b[0m\n"


def test_a_card_has_its_own_front_matter_and_no_markup_of_others(run: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(make_card, "finished_report", unaltered_report)  # its figures are nobody's
    card = model_card(run)
    _, front, text = re.split(r"^---$", card, maxsplit=2, flags=re.MULTILINE)
    assert yaml.safe_load(front)["library_name"] == "onnx"
    assert not re.search(_UNSEEN, card)
    assert not re.search(r"(?<!\\)<(?=script|b>)", text)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert tables
    assert all(line.rstrip().endswith("|") for line in tables)
    assert not re.search(r"^(---|x: y)", text, re.MULTILINE)


def test_an_error_is_one_line_whatever_it_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text('schema_version: 1\n"\\e[31mX\\n::error::hi": 1\n')
    monkeypatch.setattr(sys, "argv", ["edgeproof", "build", str(recipe)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert len(said.splitlines()) == 1
    assert not re.search(_UNSEEN, said.rstrip("\n"))
    assert not _COMMAND.search(said)


def test_what_is_plain_stays_plain():
    for text in ("package.module:function", "a::b", "std::vector<int>", "é 漢字 ✓", "8/255", "# a", "## b [c]"):
        assert printable(text) == in_one_line(text) == text
    assert in_markdown("`code` a_b") == "`code` a_b"
    assert in_one_line(" a \n b\t") == "a b"
