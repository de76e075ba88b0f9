"""Command line of `init`, `doctor`, `targets`, `schema`: what one asks before the first run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...core.reading.printable import in_one_line
from .app import app
from .arguments import AsJson, DataRoot
from .output import answer


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where the recipe goes.")] = Path("recipe.yaml"),
    use: Annotated[
        str,
        typer.Option("--for", help="build a student, prove a finished model, or gate a repository's merge requests."),
    ] = "build",
    model: Annotated[
        str | None,
        typer.Option(
            help="The model that ships: a name, or package.module:function, which may lie beside the recipe. "
            "To prove: its ONNX file."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="The images: a name, a folder, an .npz file, or package.module:function. Left out: digits."),
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(help="Resize image files to this side, or to HEIGHTxWIDTH such as 48x64.")
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Read image files as grey.")] = False,
    data_root: DataRoot = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented recipe to start from, for your own model and images if you name them."""
    from ..commands.init import write_starter

    written = write_starter(
        path, use, model=model, data=data, data_root=data_root, image_size=image_size, grey=grey, force=force
    )
    for line in written.seen:
        print(in_one_line(line))
    print(f"written: {', '.join(map(str, written.files))}")
    print("next: " + "\n      ".join(written.following))


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
