"""Where reports go: the options, GitHub's files, and that nothing here changes a verdict."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.reports import formats
from edgeproof.pipeline.reports.deliver import Outputs
from edgeproof.pipeline.results.report import Report

from tests import warm
from tests.finished_run import bits, finished
from tests.pipeline.reports.test_report_formats import FAILED, PASSED


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may themselves run on GitHub."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    command = [*map(str, arguments)]
    return subprocess.CompletedProcess(command, *warm.run(command, cwd, {**clean, **environment}))


GATE = {"name": "robust_accuracy", "limit": ">= 0.75"}


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    run_of = finished(tmp_path / "run", {"onnxruntime": bits(200, range(60))}, gates=[GATE])
    return run_of / "report.json"


def test_a_file_says_its_format_and_a_folder_gets_them_all(tmp_path: Path):
    wanted = ("a.xml", "b.MD", "c.sarif", "new/d.txt", "gate", "out.d/")
    (tmp_path / "out.d").mkdir()
    Outputs.asked([str(tmp_path / name) for name in wanted]).deliver(FAILED)
    assert (tmp_path / "a.xml").read_text() == formats["junit.xml"](FAILED)
    assert (tmp_path / "b.MD").read_text() == formats["summary.md"](FAILED)
    assert json.loads((tmp_path / "c.sarif").read_text())["version"] == "2.1.0"
    assert (tmp_path / "new" / "d.txt").read_text().endswith("# EOF\n")
    for folder in ("gate", "out.d"):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == formats.names()


@pytest.mark.parametrize(
    ("wanted", "style", "as_json", "words"),
    [
        (["x.pdf"], "auto", False, "--output x.pdf: its name says no report format"),
        ([], "gitlab", False, "--annotations gitlab: must be one of auto, github, none"),
        ([], "github", True, "where --json leaves nothing else"),
    ],
)
def test_options_that_are_refused_before_any_work(wanted: list[str], style: str, as_json: bool, words: str):
    with pytest.raises(UsageError, match=re.escape(words)):
        Outputs.asked(wanted, style, as_json=as_json)


def test_a_runs_own_report_is_not_overwritten(tmp_path: Path):
    (tmp_path / "manifest.json").write_text("{}")
    for wanted in (tmp_path, tmp_path / "report.json"):
        with pytest.raises(UsageError, match="is a run's own folder"):
            Outputs.asked([str(wanted)])
    Outputs.asked([str(tmp_path / "merge.md")]).deliver(PASSED)


def test_a_file_that_cannot_be_written_is_one_line_and_the_others_are_there(tmp_path: Path, failed: Path):
    (tmp_path / "file").write_text("")
    done = run("gate", failed, "--output", "file/x.xml", "--output", "y.xml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "edgeproof: --output file/x.xml: not written (File exists)\n"
    assert "digits: FAIL" in done.stdout, "the verdict was said, and is what it was"
    assert (tmp_path / "y.xml").is_file()
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("code", [0, 1, 4])
def test_files_change_no_verdict(tmp_path: Path, code: int):
    doubts = ["onnxruntime: huge-eps: 40 % stand at eps 0.9"] if code == 4 else []
    lost = range(60) if code == 1 else ()
    finished(tmp_path / "run", {"onnxruntime": bits(200, lost)}, gates=[GATE], doubts=doubts)
    for arguments in ((), ("--output", "gate"), ("--annotations", "github"), ("--json",)):
        assert run("report", "run", *arguments, cwd=tmp_path).returncode == code, arguments
    assert json.loads((tmp_path / "gate" / "report.json").read_text())["exit_code"] == code


def test_on_github_annotations_and_summary_come_by_themselves(tmp_path: Path, failed: Path):
    summary = tmp_path / "summary"
    summary.write_text("before\n")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_WORKSPACE": str(tmp_path)}
    (tmp_path / "sub").mkdir()
    done = run("gate", failed, "--location", "recipe.yaml", cwd=tmp_path / "sub", **github)
    assert done.returncode == 1
    assert "\n::error file=sub/recipe.yaml,line=1,title=FAIL robust_accuracy >= 0.75::" in done.stdout
    assert summary.read_text().startswith("before\n# digits: FAIL\n")
    before = summary.read_text()
    for arguments in (("--json",), ("--annotations", "none")):
        quiet = run("gate", failed, *arguments, cwd=tmp_path, **github)
        assert (quiet.returncode, "::error" in quiet.stdout, summary.read_text()) == (1, False, before)
    assert json.loads(run("gate", failed, "--json", cwd=tmp_path, **github).stdout)["verdict"] == "fail"


def test_files_tell_no_place_of_a_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ("work", "elsewhere"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for baseline, shown in (("work/ci/base.json", "ci/base.json"), ("elsewhere/base.json", "base.json")):
        judged = Report({**FAILED.data, "baseline": {"path": str(tmp_path / baseline), "checksum": "c", "name": "n"}})
        Outputs.asked([str(tmp_path / "out")]).deliver(judged)
        found = json.loads((tmp_path / "out" / "report.json").read_text())
        assert (found["baseline"]["path"], found["location"]) == (shown, shown)
        assert not any(str(tmp_path) in path.read_text() for path in (tmp_path / "out").iterdir())


def test_a_summary_that_cannot_be_written_changes_nothing(tmp_path: Path, failed: Path):
    done = run("gate", failed, cwd=tmp_path, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY="/no/such/file")
    assert done.returncode == 1
    assert done.stderr == "edgeproof: $GITHUB_STEP_SUMMARY /no/such/file: not written (No such file or directory)\n"


def test_verify_refuses_an_output_before_it_attacks(tmp_path: Path):
    arguments = ("verify", "none.onnx", "--dataset", "digits", "--eps", "0.1", "--output", "x.pdf")
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, "--output x.pdf: its name says no report format" in done.stderr) == (2, True)
    assert not list(tmp_path.iterdir())
