"""Command output: text, JSON, exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ...core.atomic_write import write_atomically
from ...core.errors import UsageError

if TYPE_CHECKING:
    from ..reports.deliver import Outputs
    from ..results.report import Report


PAGE = "report.html"


def finish(
    found: Report, as_json: bool, folder: Path | None, outputs: Outputs | None = None, *, shown: bool = False
) -> None:
    """Print a report, write it where it was asked for, open its page if `shown`, and exit with its verdict's code."""
    if as_json:
        print(json.dumps(found.data))
    else:
        from .terminal import show

        show(found, console())
        if folder is not None:
            print(f"report: {folder / PAGE}")
    if outputs is not None:
        outputs.deliver(found)
    if shown and folder is not None:
        typer.launch(str(folder / PAGE))
    raise typer.Exit(found.exit_code)


def answer(result: Any, as_json: bool, show: Callable[[Any, Any], None]) -> None:
    """Print a result as one JSON document, or for people."""
    if as_json:
        print(json.dumps(result))
    else:
        show(result, console())


def write(path: Path, text: str) -> None:
    """Write a file that the user asked for.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def console() -> Any:
    """A terminal."""
    from ..terminal import Terminal

    return Terminal()
