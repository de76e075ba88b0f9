"""Command line of `init`, `doctor`, `targets`, `schema`: what one asks before the first run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .arguments import AsJson
from .output import answer


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where the recipe goes.")] = Path("recipe.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented recipe to start from."""
    from ..commands.init import write_recipe

    write_recipe(path, force=force)
    print(f"{path}: written; run it with: edgeproof build {path}")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what the machine offers, and which targets are available."""
    from ..commands.doctor import examine, show_doctor

    found = examine()
    answer(found, as_json, show_doctor)


@app.command("targets")
def list_targets(as_json: AsJson = False) -> None:
    """List the targets: available or why not, and their versions."""
    from ..commands.doctor import show_targets, target_states

    states = target_states()
    answer(states, as_json, show_targets)


@app.command("list")
def list_plugins(
    kind: Annotated[
        str | None, typer.Argument(help="methods, models, targets, routes, …; left out, the kinds are listed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what can be named in recipes and commands, third parties' plug-ins included, with one line each."""
    from ..commands.list import list_entries, list_kinds, show_entries

    answer(list_kinds() if kind is None else list_entries(kind), as_json, show_entries)


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors that complete them."""
    from ..recipe.recipe import schema as recipe_schema

    print(json.dumps(recipe_schema(), indent=1))
