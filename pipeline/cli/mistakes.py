"""Usage errors of typer as one line that names the option, its value, and what would be right."""

from __future__ import annotations

from typing import Any

import typer

# The base of all of them, which typer does not export: newer versions bring a copy of click of their own.
Mistake: Any = typer.BadParameter.__mro__[1]


def told(mistake: Any) -> str:
    """Say what is wrong; nothing where typer printed the help instead.

    Args:
        mistake: what typer raised.
    """
    message = " ".join(mistake.format_message().split()).removesuffix(".")
    if not message:
        return ""
    param = getattr(mistake, "param", None)
    problems = getattr(mistake.__cause__, "errors", list)()  # pydantic's, in newer versions
    if param is not None and problems:
        from ...core.config import what_is_wrong

        named = next((name for name in param.opts if name.startswith("--")), param.name)
        message = f"{named}: {what_is_wrong(problems[0])}, got {problems[0]['input']!r}"
    command = "edgeproof" if mistake.ctx is None else mistake.ctx.command_path
    return f"{message} (see {command} --help)"
