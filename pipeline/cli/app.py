"""The application that commands register with."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="edgeproof",
    help="Distil a robust teacher into a compact student, build the edge engine, attack the engine itself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
