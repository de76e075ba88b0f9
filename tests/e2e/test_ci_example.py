"""`examples/ci` from end to end: built, a baseline, what loses robustness is red, what does not is green."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests import warm
from tests.e2e.ci_runners import TEMPLATE_HEADER, run_action, run_template, tools
from tests.e2e.conftest import ENV, ROOT, Finished, edgeproof
from tests.shared import made_once

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BASELINE = "baselines/digits.json"
# A network that looks robust to whoever follows gradients: rounding has none, and changes no image of 17 grey levels.
MASKED = """
import torch
from edgeproof.stages.models import build_model

class Rounded(torch.nn.Module):
    def __init__(self, image_shape, classes):
        super().__init__()
        self.network = build_model("cnn8_small", image_shape, classes, seed=0)

    def forward(self, images):
        return self.network(torch.round(images * 16) / 16)

def rounded(image_shape, classes):
    return Rounded(image_shape, classes)
"""


# What the example's own build does not share with them: losses of this size need fewer samples.
CHANGES = {
    # A student whose robustness is fine-tuned away, on clean images.
    "fine-tuned": (
        "distill.method=standard",
        "distill.warm_start=runs/digits/student/model.safetensors",
        "distill.epochs=20",
        "distill.learning_rate=0.5",
        "verify.samples=150",
    ),
    # Another INT8 scheme: four bits, one scale a tensor.
    "four-bits": (
        "quantize.weight_bits=4",
        "quantize.activation_bits=4",
        "quantize.per_channel=false",
        "verify.samples=150",
    ),
    # Clean training is enough: adversarial training sees no gradient either.
    "masked": (
        "student.model=masked:rounded",
        "distill.method=standard",
        "distill.epochs=20",
        "verify.samples=100",
    ),
    # Another seed of the attacks, and the student exported again; no loss is excluded on fewer samples.
    "harmless": ("verify.seed=1", "export.opset=19", "verify.samples=250"),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, checked out and built; this module's own copy."""
    return Path(shutil.copytree(example(), tmp_path_factory.mktemp("ci") / "example"))


def example() -> Path:
    def make(folder: Path) -> None:
        shutil.copytree(ROOT / "examples" / "ci", folder, dirs_exist_ok=True)
        (folder / "masked.py").write_text(MASKED)
        built = build(folder, "digits")
        assert built.code == 0, built.out + built.err

    return made_once("ci-example", make)


def build(repository: Path, name: str, *overrides: str) -> Finished:
    """Build into the run's own store, which is what the workflows keep between their jobs."""
    changes = [part for override in overrides for part in ("--set", override)]
    command = ["build", "recipe.yaml", "--out", f"runs/{name}", "--workers", "1", *changes]
    return Finished(*warm.run(command, repository, {**ENV, "EDGEPROOF_STORE": ""}))


def change(repository: Path, name: str) -> int:
    """Lay a change's run into the repository and return its exit code.

    What it has in common with the first build is taken from there.
    """

    def make(folder: Path) -> None:
        shutil.copytree(example(), folder, dirs_exist_ok=True)
        run = folder / "runs" / name
        shutil.copytree(folder / "runs" / "digits", run)
        built = build(folder, name, *CHANGES[name])
        assert built.code in (0, 1, 4), built.out + built.err
        assert built.code == json.loads((run / "report.json").read_text())["exit_code"]

    run = repository / "runs" / name
    if not run.exists():
        shutil.copytree(made_once(f"ci-{name}", make) / "runs" / name, run, ignore=shutil.ignore_patterns(".store"))
    return json.loads((run / "report.json").read_text())["exit_code"]


def gate(repository: Path, name: str, *more: str | Path) -> tuple[Finished, dict[str, Any]]:
    """Judge a run as the workflows do."""
    reports = repository / "reports" / name
    done = edgeproof("gate", f"runs/{name}", "--baseline", BASELINE, "--output", reports, *more, cwd=repository)
    return done, json.loads((reports / "report.json").read_text())


def entry(report: dict[str, Any], figure: str) -> dict[str, Any]:
    """The gate on a figure against the baseline."""
    (found,) = [each for each in report["gates"] if each["name"] == figure and "baseline" in each["limit"]]
    return found


def robust(columns: Any, place: int) -> bool:
    """Whether a sample withstood every route: all columns that say nothing else."""
    routes = set(columns.files) - {"index", "label", "clean_correct", "robust_8bit"}
    assert {"replay", "whitebox"} <= routes
    return all(columns[route][place] for route in routes)


def lost_and_gained(repository: Path, name: str) -> tuple[int, int]:
    """Counted here from the bits of both runs."""
    before, after = (
        np.load(repository / "runs" / each / "verification" / "onnxruntime.npz") for each in ("digits", name)
    )
    common = np.intersect1d(before["index"], after["index"])
    first, second = ({row: robust(each, place) for place, row in enumerate(each["index"])} for each in (before, after))
    lost = sum(first[row] and not second[row] for row in common)
    return lost, sum(second[row] and not first[row] for row in common)


def test_the_committed_baseline_lets_the_committed_recipe_pass(repository: Path):
    done, report = gate(repository, "digits")
    assert done.code == 0, done.out
    assert report["baseline"]["path"] == BASELINE
    committed = json.loads((ROOT / "examples" / "ci" / BASELINE).read_text())
    assert committed["samples"] == report["subjects"][-1]["samples"]


def test_a_new_baseline_is_written_on_demand_and_the_run_meets_it(repository: Path):
    new = repository / "baselines" / "new.json"
    missing = edgeproof("gate", "runs/digits", "--baseline", new, cwd=repository)
    assert (missing.code, new.exists()) == (2, False)
    written = edgeproof("gate", "runs/digits", "--baseline", new, "--update-baseline", cwd=repository)
    assert (written.code, new.is_file()) == (0, True)
    assert new.stat().st_size < 10_000
    done = edgeproof("gate", "runs/digits", "--baseline", new, "--json", cwd=repository)
    against = entry(json.loads(done.out), "robust_accuracy")["against_baseline"]
    assert (done.code, against["lost"], against["gained"]) == (0, 0, 0)


@pytest.fixture(scope="module")
def held(repository: Path) -> Path:
    """The repository with a baseline of its own first build, so that counts can be checked."""
    done = edgeproof("gate", "runs/digits", "--baseline", BASELINE, "--update-baseline", cwd=repository)
    assert done.code == 0
    return repository


@pytest.mark.parametrize("name", ["fine-tuned", "four-bits"])
def test_what_loses_robustness_is_red_with_the_right_reason(held: Path, name: str):
    change(held, name)
    done, report = gate(held, name)
    red = entry(report, "robust_accuracy")
    assert (done.code, red["outcome"]) == (1, "fail"), done.out
    lost, gained = lost_and_gained(held, name)
    words = f"{lost} samples lost, {gained} gained of {report['subjects'][-1]['samples']}"
    assert words in red["reason"]
    folder = held / "reports" / name
    for file in ("junit.xml", "summary.md", "gate.sarif"):
        assert words in (folder / file).read_text(), file
    assert words in " ".join(done.out.split())
    assert "whitebox" in report["subjects"][-1]["routes"]


def test_a_model_that_hides_its_gradients_is_never_green(held: Path):
    assert change(held, "masked") in (1, 4)
    done, report = gate(held, "masked")
    assert done.code in (1, 4), done.out
    assert any("gradients" in doubt for doubt in report["doubts"])
    junit = (held / "reports" / "masked" / "junit.xml").read_text()
    case = re.search(r'<testcase [^>]*name="evidence">\s*<error .*?</error>', junit, re.DOTALL)
    assert case is not None
    assert "gradients" in case[0]
    # Clean accuracy would have told nothing.
    assert report["subjects"][-1]["clean_accuracy"] > 0.9


def test_the_reason_tells_training_from_quantization(held: Path):
    for name, words in (("fine-tuned", "lost before quantization"), ("four-bits", "so quantization costs it")):
        change(held, name)
        gate(held, name)
        assert words in (held / "reports" / name / "summary.md").read_text()


def test_what_changes_nothing_is_green(held: Path):
    assert change(held, "harmless") == 0
    reports = [json.loads((held / "runs" / each / "report.json").read_text()) for each in ("digits", "harmless")]
    first, second = (each["subjects"][-1]["sha256"] for each in reports)
    assert first != second
    done, report = gate(held, "harmless")
    assert (done.code, report["verdict"]) == (0, "pass"), done.out


def test_a_comment_builds_and_changes_nothing(held: Path):
    recipe = held / "recipe.yaml"
    text = recipe.read_text()
    before = (held / "runs" / "digits" / "manifest.json").stat().st_mtime_ns
    recipe.write_text(text + "# Nothing is meant by this.\n")
    assert build(held, "digits").code == 0
    recipe.write_text(text)
    assert (held / "runs" / "digits" / "manifest.json").stat().st_mtime_ns == before
    done, report = gate(held, "digits")
    assert (done.code, entry(report, "robust_accuracy")["against_baseline"]["lost"]) == (0, 0)


@pytest.mark.parametrize("runner", [run_action, run_template])
def test_the_workflows_of_the_example_run(held: Path, tmp_path: Path, runner):
    """With the inputs that the example's own files give, on the stages that a job before this one left."""
    if runner is run_action:
        workflow = yaml.safe_load((held / ".github" / "workflows" / "robustness.yml").read_text())
        (step,) = [each for each in workflow["jobs"]["gate"]["steps"] if "edgeproof" in each["uses"]]
        inputs = {**step["with"], "update-baseline": "false", "install": "none"}
    else:
        included = yaml.safe_load((held / ".gitlab-ci.yml").read_text())["include"][0]
        assert included["local"] == ".gitlab/edgeproof-gate.yml"
        inputs = {**included["inputs"], "install": ""}
    shutil.rmtree(held / ".edgeproof", ignore_errors=True)
    store = held / ".edgeproof" / "run" / ".store"
    shutil.copytree(held / "runs" / "digits" / ".store", store)
    before = stages(store)
    job = runner(inputs, held, tmp_path)
    assert job.code == 0, job.log
    assert (held / ".edgeproof" / "gate" / "junit.xml").is_file()
    assert len(before) > 8
    assert (store.parent / "report.json").is_file()
    assert stages(store) == before, "nothing was trained or attacked again"


def stages(store: Path) -> dict[Path, int]:
    """What a store holds, and when it was made."""
    return {path.parent.relative_to(store): path.stat().st_mtime_ns for path in store.rglob("stage.json")}


def test_the_hook_before_a_push(held: Path, tmp_path: Path):
    (hook,) = yaml.safe_load((held / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    for folder, code in ((held, 0), (tmp_path, 0)):
        done = subprocess.run(
            shlex.split(hook["entry"]), cwd=folder, env=tools(tmp_path / "bin"), capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr


def copy_of_edgeproof(folder: Path) -> Path:
    """A repository of what a user's has of edgeproof, as far as CI systems read it before they install it."""
    folder.mkdir()
    for name in ("action.yml", "constraints.txt", "pyproject.toml", "templates"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    environment = {**os.environ, **git_environment(folder)}
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "edgeproof"]):
        subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True)
    return folder


def git_environment(copy: Path) -> dict[str, str]:
    """Of somebody whose copy of edgeproof is a folder, which git takes for a submodule's only when told to."""
    settings = {"user.name": "a", "user.email": "a@b.c", "protocol.file.allow": "always"}
    numbered = {
        f"GIT_CONFIG_{what}_{number}": text
        for number, (key, value) in enumerate(settings.items())
        for what, text in (("KEY", key), ("VALUE", value))
    }
    return {"EDGEPROOF": str(copy), "GIT_CONFIG_COUNT": str(len(settings)), **numbered}


COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(), re.DOTALL)
    for line in block.splitlines()
]


def test_every_command_of_the_page_runs(held: Path, tmp_path: Path):
    assert len(COMMANDS) > 6
    environment = tools(tmp_path / "bin") | git_environment(copy_of_edgeproof(tmp_path / "edgeproof"))
    subprocess.run(["git", "init", "-q"], cwd=held, env=environment, check=True)
    shutil.copytree(held / "runs" / "digits", held / "runs" / "before")
    for command in COMMANDS:
        done = subprocess.run(
            command, shell=True, cwd=held, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    # What the example's workflows name stands there now.
    workflow = (held / ".github" / "workflows" / "robustness.yml").read_text()
    assert (held / re.findall(r"uses: (\./\S+)", workflow)[0] / "action.yml").is_file()
    for included in yaml.safe_load((held / ".gitlab-ci.yml").read_text())["include"]:
        assert (held / included["local"]).is_file()
    assert (held / TEMPLATE_HEADER["spec"]["inputs"]["constraints"]["default"]).is_file()
