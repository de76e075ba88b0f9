"""Command-line options from a function's signature and docstring: names, types, defaults and help are written once.

The function's source is read, not imported: `--help` waits for no torch.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

_PIPELINE = Path(__file__).parents[1]
_KINDS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "Path": Path}
# Config models whose keys are options of their own, and where they are written.
_SECTIONS = {"AdapterConfig": "stages/adapt/config.py"}
_ARGUMENT = re.compile(r"^    (\w+): (.*)$")


@dataclass(frozen=True)
class Call:
    """A call of the function as the command line asks for it.

    Attributes:
        function: `room.module:name`, of the pipeline.
        given: its arguments.
    """

    function: str
    given: Mapping[str, Any]

    def __call__(self, **more: Any) -> Any:
        """Import the function and call it, with further arguments."""
        module, _, name = self.function.partition(":")
        return getattr(import_module(f"..{module}", __package__), name)(**self.given, **more)


def asks(
    function: str, *, without: Collection[str] = ("reporter",), **names: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the arguments and options of a function of the pipeline.

    What is positional there is an argument, what is keyword-only an option; of a union the first type counts, and
    `Annotated[int, Field(ge=1)]` bounds a number. The command gets a `Call` first, then what it asks for besides.

    Args:
        function: `room.module:name`.
        without: parameters that are no options.
        names: the options of those parameters that are called otherwise on the command line.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        sections: dict[str, dict[str, str]] = {}
        derived = list(_parameters(function, without, names, sections))
        hints = get_type_hints(command, include_extras=True)
        _, *own = inspect.signature(command).parameters.values()
        theirs = {each.name for each in derived}

        def run(**given: Any) -> None:
            # What is left out is the function's own default.
            asked = {name: value for name, value in given.items() if name in theirs and value is not None}
            for section, keys in sections.items():
                asked[section] = {key: asked.pop(name) for name, key in keys.items() if name in asked}
            command(Call(function, asked), **{name: given[name] for name in given.keys() - theirs})

        mine = [each.replace(annotation=hints[each.name], kind=each.KEYWORD_ONLY) for each in own]
        return _in_place_of(command, run, [*derived, *mine])

    return decorate


def with_keys(parameter: str, config: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each key of a config model; it gets those that were given as one mapping.

    Args:
        parameter: the command's own, which takes the mapping.
        config: the model's name.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        keys = list(_keys(config, ""))

        def run(**given: Any) -> None:
            said = {each.name: given.pop(each.name) for each in keys}
            command(**given, **{parameter: {name: value for name, value in said.items() if value is not None}})

        own = [
            each.replace(annotation=hints[each.name], kind=each.KEYWORD_ONLY)
            for each in inspect.signature(command).parameters.values()
            if each.name != parameter
        ]
        return _in_place_of(command, run, [*own, *keys])

    return decorate


def _in_place_of(
    command: Callable[..., None], run: Callable[..., None], parameters: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """`run` under the command's name and words, with these parameters for typer to read."""
    run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _parameters(
    function: str, without: Collection[str], names: Mapping[str, str], sections: dict[str, dict[str, str]]
) -> Iterator[inspect.Parameter]:
    """The parameters of a command; into `sections` go those that are keys of a config, by that one's own name.

    A parameter `surrogate_adapter` has the options of `adapter` with `surrogate` in front, `--surrogate-layout`.
    """
    module, _, name = function.partition(":")
    tree = _tree(module)
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    node = next(each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name)
    docs = _documented(ast.get_docstring(node) or "")
    for each, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        config = _section_of(each)
        if config is not None:
            whose = each.arg.rpartition("_")[0]
            options = list(_keys(config, whose))
            sections[each.arg] = {option.name: option.name.removeprefix(f"{whose}_") for option in options}
            yield from options
        elif each.arg not in without:
            value = constants[default.id] if isinstance(default, ast.Name) else default
            yield _option(each, value, docs[each.arg], names.get(each.arg))
    for each in node.args.args:
        if each.arg not in without:
            yield _argument(each, docs[each.arg])


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse((_PIPELINE / f"{module.replace('.', '/')}.py").read_text())


def _section_of(argument: ast.arg) -> str | None:
    """The config model that a parameter is, where its keys are options of their own."""
    annotation = argument.annotation
    while isinstance(annotation, ast.BinOp):
        annotation = annotation.left
    return annotation.id if isinstance(annotation, ast.Name) and annotation.id in _SECTIONS else None


def _keys(config: str, whose: str) -> Iterator[inspect.Parameter]:
    """An option for each key of a config model, `whose` in front; what is left out is the model's own default."""
    tree = ast.parse((_PIPELINE.parent / _SECTIONS[config]).read_text())
    model = next(each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == config)
    docs = _documented(ast.get_docstring(model) or "", "Attributes")
    for each in model.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            name, words = each.target.id, ast.unparse(each.annotation)
            kind = _KINDS.get(words.removesuffix(" | None"), str)
            shown = "|".join(re.findall(r"'([^']*)'", words)) or ("NUMBER,..." if "Number, ..." in words else None)
            parameter = f"{whose}_{name}" if whose else name
            option = typer.Option(
                f"--{parameter.replace('_', '-')}",
                help=_says(f"of the {whose}: {docs[name]}" if whose else docs[name]),
                metavar=shown,
                show_default=False,
                rich_help_panel=f"Adapter of the {whose}" if whose else None,
            )
            annotation = Annotated[kind | None, option]
            yield inspect.Parameter(parameter, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _documented(docstring: str, what: str = "Args") -> dict[str, str]:
    """What a docstring says of each argument, on one line."""
    found: dict[str, str] = {}
    name = ""
    for line in docstring.partition(f"\n{what}:\n")[2].splitlines():
        if line and not line.startswith(" "):
            break
        if match := _ARGUMENT.match(line):
            name, found[match[1]] = match[1], match[2]
        elif name:
            found[name] += f" {line.strip()}"
    return found


def _says(text: str, more: str = "") -> str:
    """A docstring's text as help, which rich would take brackets out of."""
    plain = text.replace("`", "").rstrip(" .").replace("[", "\\[")
    return f"{plain[:1].upper()}{plain[1:]}{more}."


def _argument(argument: ast.arg, text: str) -> inspect.Parameter:
    kind, _ = _kind(argument)
    annotation = Annotated[kind, typer.Argument(help=_says(text))]
    return inspect.Parameter(argument.arg, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)


def _option(argument: ast.arg, default: ast.expr | None, text: str, name: str | None) -> inspect.Parameter:
    kind, least = _kind(argument)
    flag = name or f"--{argument.arg.replace('_', '-')}"
    value: Any = inspect.Parameter.empty
    if default is not None:
        value = ast.literal_eval(default)
    several = not isinstance(kind, type)
    if several or value is None:
        kind, value = kind | None, None
    if value is True:
        flag = f"{flag}/--no-{flag[2:]}"
    option = typer.Option(flag, help=_says(text, "; repeatable" if several else ""), min=least)
    annotation = Annotated[kind, option]
    return inspect.Parameter(argument.arg, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=annotation)


def _kind(argument: ast.arg) -> tuple[Any, int | None]:
    """The type of a parameter's values, and the least of them."""
    found = argument.annotation
    while isinstance(found, ast.BinOp):  # of a union the first
        found = found.left
    if not isinstance(found, ast.Subscript):
        assert isinstance(found, ast.Name), f"{argument.arg} needs a plain type first"
        return _KINDS[found.id], None
    inner = found.slice
    if ast.unparse(found.value) == "Annotated":
        assert isinstance(inner, ast.Tuple)
        kind, bound = inner.elts
        assert isinstance(bound, ast.Call)
        return _KINDS[ast.unparse(kind)], {each.arg: ast.literal_eval(each.value) for each in bound.keywords}["ge"]
    kind, least = _kind(ast.arg(argument.arg, inner))
    return list[kind], least
