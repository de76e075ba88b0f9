"""`store list`, `store prune`: what the store that runs share holds, and removing what none refers to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .arguments import AsJson
from .output import answer

store = typer.Typer(help="Look into the store of finished stages, and clear it.", no_args_is_help=True)
app.add_typer(store, name="store")

StoreFolder = Annotated[
    Path | None, typer.Argument(metavar="DIR", help="The store, or the folder of a run (default: $EDGEPROOF_STORE).")
]


@store.command("list")
def list_(folder: StoreFolder = None, as_json: AsJson = False) -> None:
    """List what a store holds: stage, size, age, last use, and the runs that refer to it."""
    from ..commands.store import list_store, show_store

    answer(list_store(folder), as_json, show_store)


@store.command()
def prune(
    folder: StoreFolder = None,
    older_than: Annotated[
        str, typer.Option(help="Only what nobody has used for so long: 90m, 12h, 30d, 2w.", metavar="AGE")
    ] = "0d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, only say what would be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what no run refers to: none that is there still, and nothing that is being made."""
    from ..commands.store import prune_store, show_pruned

    answer(prune_store(folder, older_than=older_than, dry_run=dry_run), as_json, show_pruned)
