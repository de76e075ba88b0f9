"""The GitHub action and the GitLab template: their scripts run on a real finished run, their files fit the schemas."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.e2e.ci_runners import ACTION, TEMPLATE, TEMPLATE_HEADER, Job, run_action, run_template, template_job
from tests.e2e.conftest import ROOT

Runner = Callable[..., Job]
RUNNERS = pytest.mark.parametrize("runner", [run_action, run_template])
NOTHING_TO_INSTALL = {run_action: {"install": "none"}, run_template: {"install": ""}}


@pytest.fixture
def workspace(run: Path, tmp_path: Path) -> Path:
    """A checked-out repository with a finished run in it."""
    shutil.copytree(run, tmp_path / "repository" / "runs" / "digits", ignore=shutil.ignore_patterns(".store"))
    return tmp_path / "repository"


def judged(runner: Runner, workspace: Path, tmp_path: Path, environment: dict[str, str] | None = None, **inputs: str):
    given = {**NOTHING_TO_INSTALL[runner], "run": "runs/digits", **inputs}
    return runner(given, workspace, tmp_path / "runner", **(environment or {}))


@RUNNERS
@pytest.mark.parametrize(
    ("require", "code", "verdict"),
    [
        ("clean_accuracy >= 0.5\n\nsize_bytes < 100000\n", 0, "pass"),
        ("clean_accuracy >= 0.5\nsize_bytes < 1", 1, "fail"),
        ("corrupted_accuracy >= 0.5", 4, "inconclusive"),
        ("clean_acuracy >= 0.5", 2, "error"),
    ],
)
def test_a_verdict_is_the_jobs(runner: Runner, workspace: Path, tmp_path: Path, require: str, code: int, verdict: str):
    job = judged(runner, workspace, tmp_path, require=require)
    assert job.code == code, job.log
    folder = workspace / ".edgeproof" / "gate"
    if code == 2:
        assert "did you mean 'clean_accuracy'" in job.log
        assert not folder.exists()
    else:
        report = json.loads((folder / "report.json").read_text())
        assert (report["verdict"], report["exit_code"]) == (verdict, code)
        assert (folder / "junit.xml").is_file()
        assert (folder / "metrics.txt").is_file()
    if runner is run_action:
        assert (job.outputs["verdict"], job.outputs["exit-code"]) == (verdict, str(code))
        assert (workspace / job.outputs["report"]).is_file() == (code != 2)
        assert job.summary.startswith(f"# digits: {verdict.upper()}\n") == (code != 2)
        assert ("::error " in job.log) == (code in (1, 4))


@RUNNERS
def test_a_baseline_is_made_held_against_and_never_moved_by_a_merge_request(
    runner: Runner, workspace: Path, tmp_path: Path
):
    baseline = workspace / "baselines" / "digits.json"
    moving = {"baseline": "baselines/digits.json", "update-baseline": "true"}
    for event in ("pull_request", "pull_request_target", "merge_group"):
        source = {"GITHUB_EVENT_NAME": event, "CI_PIPELINE_SOURCE": "merge_request_event"}
        job = judged(runner, workspace, tmp_path, source, **moving)
        assert (job.code, baseline.exists()) == (2, False)
        assert re.search("must not move its own baseline", job.log)
    pushed = {"GITHUB_EVENT_NAME": "push", "CI_PIPELINE_SOURCE": "push"}
    job = judged(runner, workspace, tmp_path, pushed, **moving)
    assert (job.code, baseline.is_file()) == (0, True), job.log
    if runner is run_action:
        assert job.outputs["verdict"] == "pass"
    job = judged(runner, workspace, tmp_path, baseline="baselines/digits.json", require="size_bytes <= baseline")
    assert job.code == 0, job.log
    wrong = judged(runner, workspace, tmp_path, baseline="baselines/none.json")
    assert (wrong.code, "no such file" in wrong.log) == (2, True)


def test_a_baseline_of_a_run_without_gates_is_no_pass(workspace: Path, tmp_path: Path):
    shutil.copytree(ROOT / "tests" / "data" / "written_by_0_1" / "proof", workspace / "runs" / "proof")
    moving = {"baseline": "proof.json", "update-baseline": "true", "run": "runs/proof"}
    job = judged(run_action, workspace, tmp_path, {"GITHUB_EVENT_NAME": "push"}, **moving)
    assert (job.code, job.outputs["verdict"]) == (0, "measured"), job.log


@RUNNERS
def test_inputs_are_data_and_never_run(runner: Runner, workspace: Path, tmp_path: Path):
    evil = "$(touch pwned)`touch pwned`\";touch pwned;'\n&& touch pwned"
    for name in ("run", "require", "baseline", "arguments"):
        job = judged(runner, workspace, tmp_path, **{name: evil})
        assert (job.code == 2) != (name == "arguments"), (name, job.log)
    job = runner({**NOTHING_TO_INSTALL[runner], "recipe": evil, "arguments": evil}, workspace, tmp_path / "runner")
    assert job.code == 2
    job = runner({"install": evil, "run": "runs/digits"}, workspace, tmp_path / "runner")
    assert evil.splitlines()[0] in (tmp_path / "runner" / "bin" / "installed").read_text()
    assert not list(tmp_path.rglob("pwned"))


@RUNNERS
@pytest.mark.parametrize("sources", [{}, {"run": "runs/digits", "recipe": "recipe.yaml"}])
def test_one_source_is_needed(runner: Runner, workspace: Path, tmp_path: Path, sources: dict[str, str]):
    job = runner({**NOTHING_TO_INSTALL[runner], **sources}, workspace, tmp_path / "runner")
    assert (job.code, "exactly one of the inputs" in job.log) == (2, True)


@RUNNERS
def test_a_merge_request_is_judged_by_what_its_target_asks_for(runner: Runner, workspace: Path, tmp_path: Path):
    """It asks for less of itself, in the gates and in the baseline; the branch that it goes to is bound to another."""

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *arguments], cwd=workspace, check=True, capture_output=True)

    def ask(eps: float) -> None:
        asked = {"bound_to": {"eps": eps, "dataset": "digits"}, "clean_accuracy": ">= 0.1"}
        (workspace / "gates.yaml").write_text(yaml.safe_dump({"gates": asked}))

    ask(0.2)
    git("init", "--quiet", "--initial-branch=main")
    git("add", "gates.yaml")
    git("commit", "--quiet", "-m", "asked")
    git("remote", "add", "origin", str(workspace))
    git("checkout", "--quiet", "-b", "lowered")
    ask(0.1)
    target = {"GITHUB_BASE_REF": "main", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
    assert judged(runner, workspace, tmp_path, gates="gates.yaml").code == 0
    red = judged(runner, workspace, tmp_path, target, gates="gates.yaml")
    assert red.code == 1, red.log
    assert "bound_to.eps = 0.2: fail. the run's eps is 0.1; the gates are bound to 0.2" in " ".join(red.log.split())
    new = judged(runner, workspace, tmp_path, target, gates="gates.yaml", baseline="none.json")
    assert (new.code, "none.json: no such file" in new.log) == (2, True), "which the target does not have either"
    gone = judged(runner, workspace, tmp_path, dict.fromkeys(target, "no-such-branch"))
    assert (gone.code, "the target branch no-such-branch cannot be fetched" in gone.log) == (2, True)


@RUNNERS
def test_an_older_report_is_not_judged_for_a_build_that_died(runner: Runner, workspace: Path, tmp_path: Path):
    """By whatever ends a process with the code that a failed gate has."""
    kept = workspace / ".edgeproof" / "run"
    kept.mkdir(parents=True)
    shutil.copy(workspace / "runs" / "digits" / "report.json", kept)
    (workspace / "dies.py").write_text("import os\n\nos._exit(1)\n")
    recipe = {"run": "", "recipe": str(ROOT / "examples" / "digits.yaml"), "arguments": "--set=data.dataset=dies:data"}
    job = judged(runner, workspace, tmp_path, {"PYTHONPATH": str(workspace)}, **recipe)
    assert job.code == 2, job.log
    assert not (workspace / ".edgeproof" / "gate").exists()


def test_the_action_works_below_the_repositorys_root(workspace: Path, tmp_path: Path):
    (workspace / "sub").mkdir()
    (workspace / "runs").rename(workspace / "sub" / "runs")
    more = {"working-directory": "sub", "require": "size_bytes < 1", "location": "recipe.yaml"}
    job = judged(run_action, workspace, tmp_path, **more)
    assert job.code == 1
    assert "::error file=sub/recipe.yaml,line=1,title=FAIL size_bytes < 1::" in job.log
    assert (workspace / job.outputs["folder"] / "gate.sarif").is_file()
    assert job.outputs["folder"] == "sub/.edgeproof/gate"


def test_the_action_installs_its_own_version_with_extras(workspace: Path, tmp_path: Path):
    more = {
        "install": "auto",
        "extras": "openvino,executorch",
        "pip-arguments": "--extra-index-url\nhttps://example.org",
    }
    assert judged(run_action, workspace, tmp_path, **more).code == 0
    asked = (tmp_path / "runner" / "bin" / "installed").read_text().splitlines()
    assert asked == [
        *("-m", "pip", "install", "--extra-index-url", "https://example.org"),
        *("--constraint", f"{ROOT}/constraints.txt", f"{ROOT}[openvino,executorch]"),
    ]
    assert judged(run_action, workspace, tmp_path, extras="x; touch y").code == 2


def test_the_template_installs_what_is_pinned_from_the_index_that_is_named(workspace: Path, tmp_path: Path):
    for inputs, asked in (
        ({}, ["--constraint", "tools/edgeproof/constraints.txt", "./tools/edgeproof"]),
        (
            {"index": "https://example.org/simple", "constraints": "", "install": "./mine[openvino]"},
            ["--index-url", "https://example.org/simple", "./mine[openvino]"],
        ),
    ):
        place = tmp_path / str(len(inputs))
        assert run_template({"run": "runs/digits", **inputs}, workspace, place).code == 0
        assert (place / "bin" / "installed").read_text().splitlines() == ["-m", "pip", "install", *asked]


def test_jobs_side_by_side_share_neither_artifact_nor_cache(workspace: Path, tmp_path: Path):
    """A job finds its own cache again, and every other recipe, model or argument has another."""
    shutil.copytree(workspace / "runs" / "digits", workspace / "runs" / "other")

    def named(place: str, **inputs: str) -> tuple[str, str]:
        job = judged(run_action, workspace, tmp_path / place, **inputs)
        return job.steps["check"]["name"], job.steps["check"]["artifact"]

    first = named("1")
    assert first == named("2")
    assert first[1] == f"edgeproof-gate-{first[0]}"
    assert first[0].startswith("digits-")
    others = [named("3", run="runs/other"), named("4", arguments="--seed=1"), named("5", **{"python-version": "3.13"})]
    assert len({first, *others}) == 4
    assert named("6", artifact="mine")[1] == "mine"
    assert named("7", artifact="")[1] == ""
    keys = [step["with"]["key"] for step in ACTION["runs"]["steps"] if "cache/" in step.get("uses", "")]
    assert all("steps.check.outputs.name" in key for key in keys)
    assert len(keys) == 2
    (job,) = template_job({}).values()
    assert all("$CI_JOB_NAME_SLUG" in each["key"] for each in job["cache"])


def test_what_pip_downloaded_is_found_by_all_that_it_was_asked(workspace: Path, tmp_path: Path):
    def digest(place: str, **inputs: str) -> str:
        return judged(run_action, workspace, tmp_path / place, install="auto", **inputs).steps["pip"]["digest"]

    first = digest("1")
    assert re.fullmatch("[0-9a-f]{24}", first)
    assert first == digest("2")
    assert len({first, digest("3", extras="openvino"), digest("4", **{"pip-arguments": "--pre"})}) == 3


def test_actions_of_others_are_named_by_full_version():
    files = ["action.yml", "examples/ci/.github/workflows/robustness.yml"]
    used = [each for file in files for each in re.findall(r"uses: (\S+)", (ROOT / file).read_text())]
    assert len(used) > 5
    assert [each for each in used if not re.search(r"@v\d+\.\d+\.\d+$", each)] == ["./tools/edgeproof"]


def test_no_expression_stands_in_a_script_and_every_input_is_used():
    text = (ROOT / "action.yml").read_text()
    assert not any("${{" in step["run"] for step in ACTION["runs"]["steps"] if "run" in step)
    assert all(f"inputs.{name} " in text for name in ACTION["inputs"])
    script = "\n".join(next(iter(TEMPLATE.values()))["script"])
    assert "$[[" not in script
    text = (ROOT / "templates" / "edgeproof-gate.yml").read_text()
    assert all(f"$[[ inputs.{name} ]]" in text for name in TEMPLATE_HEADER["spec"]["inputs"])


def test_the_reports_are_kept_when_the_gate_is_red():
    keep = [step for step in ACTION["runs"]["steps"] if "upload" in step.get("uses", "") + step.get("uses", "save")]
    assert all(step["if"].startswith("${{ !cancelled()") for step in keep if "uses" in step)
    (job,) = template_job({}).values()
    assert job["artifacts"]["when"] == "always"
    assert job["artifacts"]["reports"]["junit"] == ".edgeproof/gate/junit.xml"


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-actions", "action.yml"),
        ("vendor.github-workflows", "examples/ci/.github/workflows/robustness.yml"),
        ("vendor.gitlab-ci", "examples/ci/.gitlab-ci.yml"),
        ("vendor.gitlab-ci", "templates/edgeproof-gate.yml"),
    ],
)
def test_the_files_fit_their_schemas(schema: str, file: str, tmp_path: Path):
    check_jsonschema = pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    documents = list(yaml.safe_load_all((ROOT / file).read_text()))
    if file.startswith("templates"):
        documents = [TEMPLATE_HEADER, template_job({})]
    for number, document in enumerate(documents):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({str(key).replace("True", "on"): value for key, value in document.items()}))
        done = CliRunner().invoke(check_jsonschema.main, ["--builtin-schema", schema, str(path)])
        assert done.exit_code == 0, done.output
