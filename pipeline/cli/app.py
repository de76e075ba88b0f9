"""Typer application that commands register with."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="edgeproof",
    help="Distil a robust teacher into a compact student, build the edge engine, attack the engine itself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"edgeproof {version('edgeproof')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options of the command line itself."""
