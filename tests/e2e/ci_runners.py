"""GitHub's and GitLab's runners, as far as a test needs them: inputs, environment, scripts, outputs."""

from __future__ import annotations

import os
import re
import string
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.conftest import ENV, ROOT

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
TEMPLATE_HEADER, TEMPLATE = yaml.safe_load_all((ROOT / "templates" / "edgeproof-gate.yml").read_text())


@dataclass
class Job:
    """What a job left: its exit code, its log, and of a GitHub action its and its steps' outputs and the summary."""

    code: int
    log: str
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    steps: dict[str, dict[str, str]] = field(default_factory=dict)


def tools(folder: Path) -> dict[str, str]:
    """An environment in which `edgeproof` is this one, and which knows nothing of the CI that the tests may run in."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "edgeproof"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgeproof "$@"\n')
    # What would install packages writes down what it was asked for.
    installer = folder / "python"
    installer.write_text(
        f"""#!/bin/sh
case "$*" in
  --version) echo Python 3.12.0 ;;
  "-m pip cache dir") echo "{folder}/pip" ;;
  *) for each; do printf "%s\\n" "$each"; done >> "{folder}/installed" ;;
esac
"""
    )
    for each in (program, installer):
        each.chmod(0o755)
    clean = {key: value for key, value in ENV.items() if not re.match("GITHUB_|CI_|EDGEPROOF_|RUNNER_", key)}
    return {**clean, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def run_action(inputs: Mapping[str, str], workspace: Path, place: Path, **environment: str) -> Job:
    """Carry out the action's scripts as GitHub's runner does, but for the steps that use other actions.

    Args:
        inputs: what a workflow writes under `with`.
        workspace: the checked-out repository.
        place: a folder for what the runner itself needs.
        environment: more variables of the runner's.
    """
    assert set(inputs) <= set(ACTION["inputs"]), "no such input"
    values = {name: str(entry["default"]) for name, entry in ACTION["inputs"].items()}
    values |= {"target-branch": environment.get("GITHUB_BASE_REF", ""), **inputs}  # github.base_ref
    env = tools(place / "bin")
    steps: dict[str, dict[str, str]] = {}
    summary = place / "summary"
    summary.touch()
    job = Job(0, "")
    for number, step in enumerate(step for step in ACTION["runs"]["steps"] if "run" in step):
        if "inputs.install != 'none'" in step.get("if", "") and values["install"] == "none":
            continue
        assert step["shell"] == "bash"
        written = place / f"output-{number}"
        written.touch()
        script = place / f"script-{number}.sh"
        script.write_text(step["run"])
        given = {key: _evaluate(text, values, steps) for key, text in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=workspace / _evaluate(step["working-directory"], values, steps),
            env={
                **env,
                "GITHUB_ACTIONS": "true",
                "GITHUB_WORKSPACE": str(workspace),
                "GITHUB_OUTPUT": str(written),
                "GITHUB_STEP_SUMMARY": str(summary),
                **environment,
                **given,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        job.log += done.stdout + done.stderr
        job.code = done.returncode
        steps[step.get("id", "")] = dict(line.split("=", 1) for line in written.read_text().splitlines())
        if job.code:
            break
    outputs = {name: _evaluate(entry["value"], values, steps) for name, entry in ACTION["outputs"].items()}
    return Job(job.code, job.log, outputs, summary.read_text(), steps)


def _evaluate(text: str, inputs: Mapping[str, str], steps: Mapping[str, Mapping[str, str]]) -> str:
    """Fill in the few expressions that the action uses; what a step never wrote is empty."""

    def value(found: re.Match[str]) -> str:
        kind, *names = found[1].split(".")
        if kind == "inputs":
            return inputs[names[0]]
        if kind == "steps":
            return steps.get(names[0], {}).get(names[2], "")
        assert found[1] == "github.action_path", found[0]
        return str(ROOT)

    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", value, text)


def template_job(inputs: Mapping[str, str]) -> dict[str, Any]:
    """The GitLab template's only job, with these inputs."""
    declared = TEMPLATE_HEADER["spec"]["inputs"]
    assert set(inputs) <= set(declared), "no such input"
    values = {name: entry["default"] for name, entry in declared.items()} | dict(inputs)

    def fill(entry: Any) -> Any:
        if isinstance(entry, dict):
            return {fill(key): fill(value) for key, value in entry.items()}
        if isinstance(entry, list):
            return [fill(value) for value in entry]
        if isinstance(entry, str):
            return re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda found: values[found[1]], entry)
        return entry

    return fill(TEMPLATE)


def run_template(inputs: Mapping[str, str], workspace: Path, place: Path, **environment: str) -> Job:
    """Carry out the template's script as GitLab's runner does; arguments as of `run_action`."""
    ((_, job),) = template_job(inputs).items()
    variables = {
        # What is not set is empty where it is expanded.
        key: entry["value"]
        if isinstance(entry, dict)
        else string.Template(entry).substitute(defaultdict(str, environment))
        for key, entry in job["variables"].items()
    }
    return _gitlab(job["script"], workspace, {**tools(place / "bin"), **environment, **variables})


def _gitlab(script: Sequence[str], workspace: Path, env: Mapping[str, str]) -> Job:
    # The runner sets these, and falls back to plain sh where an image has no bash.
    text = "\n".join(["set -e", *script])
    done = subprocess.run(
        ["sh", "-c", text], cwd=workspace, env=env, capture_output=True, text=True, check=False, timeout=500
    )
    return Job(done.returncode, done.stdout + done.stderr)
