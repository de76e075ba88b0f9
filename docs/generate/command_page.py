"""The command-line reference, from the typer application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from edgeproof.pipeline.cli.main import app
from tables import table

INTRODUCTION = """\
# Command reference

Made from the code by `python docs/generate`; do not edit. `edgeproof --help` says the same.

Exit codes, the same for every command: 0 every gate passed, 1 a gate failed, 2 the recipe, the command line or a file
is wrong, 3 a stage failed, 4 inconclusive ([more](build.md#exit-codes)). `--json` prints one JSON document on stdout
and nothing else.
"""


def page() -> str:
    """The page as Markdown."""
    hints = _hints(app)
    commands = dict(_commands(typer.main.get_command(app)))
    parts = [
        INTRODUCTION,
        table(("command", "does"), (_row(name, command) for name, command in commands.items())),
    ]
    for name, command in commands.items():
        parts += _of(name, command, hints[name])
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _hints(group: typer.Typer, before: str = "") -> dict[str, dict[str, Any]]:
    """The types of all commands' parameters, by the commands' names; those of a group stand behind its own."""
    found = {before + _name(info): get_type_hints(info.callback) for info in group.registered_commands if info.callback}
    for info in group.registered_groups:
        assert info.typer_instance is not None
        found |= _hints(info.typer_instance, f"{before}{info.name} ")
    return found


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield before + name, command


def _name(info: Any) -> str:
    return info.name or info.callback.__name__.replace("_", "-")


def _row(name: str, command: Any) -> tuple[str, str]:
    return f"[`{name}`](#{name.replace(' ', '-')})", _says(command)


def _says(command: Any) -> str:
    return " ".join((command.help or "").split())


def _of(name: str, command: Any, hints: dict[str, Any]) -> Iterator[str]:
    yield f"## {name}"
    yield _says(command)
    arguments = [each for each in command.params if not each.opts[0].startswith("-")]
    options = [each for each in command.params if each.opts[0].startswith("-")]
    required = [f"{each.opts[0]} {_metavar(each)}" for each in options if each.required]
    words = [*(_written(each) for each in arguments), *required, *(["[OPTIONS]"] if options else [])]
    yield f"```text\nedgeproof {' '.join([name, *words])}\n```"
    if command.params:
        every = [*arguments, *options]
        yield table(("name", "type", "default", "meaning"), (_about(each, hints[each.name]) for each in every))


def _metavar(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper().replace("_", "-")


def _written(argument: Any) -> str:
    word = _metavar(argument) + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _about(parameter: Any, hint: Any) -> tuple[str, str, str, str]:
    option = parameter.opts[0].startswith("-")
    kinds = [each for each in get_args(hint) if each is not type(None)] or [hint]
    several = str(kinds[0]).startswith("list")
    kind = get_args(kinds[0])[0] if several else kinds[0]
    least = getattr(parameter, "min", None)
    words = {Path: "file or folder", str: "text", int: "integer", float: "number", bool: "flag"}[kind]
    default = parameter.default
    plain = default is None or callable(default) or isinstance(default, bool) or default == []
    shown = "required" if parameter.required else "" if plain else f"`{default}`"
    return (
        f"`{' '.join(parameter.opts) if option else _metavar(parameter)}`",
        words + (f" ≥ {least}" if least is not None else "") + (", repeatable" if several and option else ""),
        shown,
        (parameter.help or "").replace("\\[", "[").replace("; repeatable", ""),
    )
