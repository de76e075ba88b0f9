"""Files of a repository whose merge requests are gated: a workflow and a hook before a push."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

WORKFLOW = Path(".github", "workflows", "robustness.yml")
HOOK = Path(".pre-commit-config.yaml")


def ci_files(recipe: Path, name: str) -> dict[Path, str]:
    """Return the files, by their paths from the recipe's folder.

    Args:
        recipe: its file.
        name: the run's.
    """
    baseline = f"baselines/{name}.json"
    return {
        WORKFLOW: f"""\
# Every merge request is built, attacked and held against {baseline}; docs/ci.md of edgeproof says more.
name: robustness
on:
  pull_request:
  push:
    branches: [main]

permissions:
  contents: read

jobs:
  gate:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v6
      - id: gate
        uses: edgeproof/edgeproof@v{version("edgeproof")}
        with:
          recipe: {recipe.name}
          baseline: {baseline}
          location: {recipe.name}
""",
        HOOK: f"""\
# Before a push: the finished run, if there is one, against the baseline. Attacks nothing and takes about a second.
repos:
  - repo: local
    hooks:
      - id: robustness
        name: robustness against the baseline
        entry: sh -c 'test ! -f runs/{name}/report.json || edgeproof gate runs/{name} --baseline {baseline}'
        language: system
        pass_filenames: false
        always_run: true
        stages: [pre-push]
""",
    }
