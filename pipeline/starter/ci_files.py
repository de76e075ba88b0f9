"""Files of a repository whose merge requests are gated: a workflow and a hook before a push."""

from __future__ import annotations

from pathlib import Path

from .recipe_text import quoted

WORKFLOW = Path(".github", "workflows", "robustness.yml")
HOOK = Path(".pre-commit-config.yaml")


def ci_files(recipe: Path, name: str) -> dict[Path, str]:
    """Return the files, where the recipe's repository has them: at its root, which is its folder if there is none.

    Args:
        recipe: its file.
        name: the run's.
    """
    folder = recipe.absolute().parent
    root = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)
    inside = (folder / recipe.name).relative_to(root).as_posix()
    # Said as the recipe is said, where it lies at the root.
    root = recipe.parent if root == folder else root
    baseline = f"baselines/{name}.json"
    return {
        root / WORKFLOW: f"""\
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
      - uses: actions/checkout@v6.0.2
        with: {{submodules: true}}
      - id: gate
        uses: ./tools/edgeproof # the submodule that docs/ci.md adds
        with:
          recipe: {quoted(inside)}
          baseline: {baseline}
          location: {quoted(inside)}
""",
        root / HOOK: f"""\
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
