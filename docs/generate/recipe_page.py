"""The recipe reference: every key of every section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from described import summary
from edgeproof.pipeline.figures.table import gated
from edgeproof.pipeline.recipe.recipe import Recipe
from edgeproof.stages.adapt import AdapterConfig
from edgeproof.stages.distill import TrainConfig
from edgeproof.stages.distill.augment import operations
from edgeproof.stages.distill.augment.operation import Pixels, Probability
from edgeproof.stages.distill.method import MethodConfig, methods
from edgeproof.stages.distill.plugin import plugins
from edgeproof.stages.models import models
from edgeproof.stages.teacher import TeacherConfig
from edgeproof.stages.verify.routes.base import routes
from edgeproof.targets.base import targets
from key_table import COLUMNS, changed, names_in, rows
from pydantic import BaseModel
from tables import table

# Sections whose keys are those of another one: only what differs is shown.
LIKE: dict[type[BaseModel], str] = {TrainConfig: "distill", TeacherConfig: "teacher", AdapterConfig: "adapter"}

INTRODUCTION = """\
# Recipe reference

Made from the code by `python docs/generate`; do not edit.

A recipe is a YAML file with these sections. A key that nobody declared is an error, never ignored. `edgeproof schema`
prints the same as a JSON Schema for editors; `edgeproof init` writes a commented recipe; `--set section.key=value`
overrides a key. The [tutorial](build.md) walks through one.
"""


def page() -> str:
    """The page as Markdown."""
    links = {name: f"[section](#{name})" for name in Recipe.model_fields if name not in ("schema_version", "name")}
    parts = [INTRODUCTION, table(COLUMNS, rows(Recipe, links))]
    for name, field in Recipe.model_fields.items():
        if name in ("targets", "gates"):
            parts += _TOLD[name]()
        elif kind := _section(field.annotation):
            parts += _of_section(name, kind, 2)
    parts += [*_models(), *_methods(), *_plugins(), *_augmentations()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _of_section(path: str, kind: type[BaseModel], level: int) -> Iterator[str]:
    """A section and those inside it."""
    yield f"{'#' * level} {path}"
    yield summary(kind)
    base = next((base for base in LIKE if issubclass(kind, base) and path != LIKE[base]), None)
    if base is not None:
        like = LIKE[base]
        if kind is base:
            yield f"Keys as of [`{like}`](#{like})."
            return
        only = changed(kind, base)
        if not only:
            return
        yield f"What differs from [`{like}`](#{like}):"
        yield table(COLUMNS, rows(kind, {}, only=only))
        return
    inner = {name: found for name, field in kind.model_fields.items() if (found := _section(field.annotation))}
    links = {name: f"[section](#{_anchor(f'{path}.{name}')})" for name in inner}
    links |= {"plugins": "list of [plug-ins](#plug-ins)", "options": "[options of the method](#methods)"}
    links |= {"augment": "list of [augmentations](#augmentations)"}
    links |= {"operations": "list of [augmentations](#augmentations)"}
    yield table(COLUMNS, rows(kind, {name: link for name, link in links.items() if name in kind.model_fields}))
    for name, found in inner.items():
        yield from _of_section(f"{path}.{name}", found, level + 1)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The config model that an annotation holds, if any."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _section(each))), None)


def _anchor(title: str) -> str:
    return title.lower().replace(".", "")


def _targets() -> Iterator[str]:
    yield "## targets"
    yield (
        "A list of names, or of names with options: `[onnxruntime, {openvino: {hint: throughput}}]`. What was really "
        "done with each of them: [Targets](targets.md). The same options go to `verify` and `bench` as "
        "`--option name=value`."
    )
    for name in targets.names():
        kind = targets[name].options
        yield f"### {name}"
        yield summary(kind)
        yield table(COLUMNS, rows(kind, {}))


def _gates() -> Iterator[str]:
    yield "## gates"
    yield (
        'A mapping from figures to limits: `{robust_accuracy: ">= 0.75", retention: ">= 0.97"}`. The worst engine '
        "decides. Limits against a baseline are told in [Gates](gates.md)."
    )
    told = (
        (f"`{figure.name}`", figure.help, "a fall" if figure.falls else "a rise") for figure in gated(routes.names())
    )
    yield table(("figure", "what it is", "what is worse"), told)


_TOLD = {"targets": _targets, "gates": _gates}


def _models() -> Iterator[str]:
    yield "## Models"
    yield f"{names_in(models)}. More of them: [Data, models, teachers](data-models-teachers.md#models)."


def _methods() -> Iterator[str]:
    yield "## Methods"
    yield "`distill.method`, `distill.options` and the same keys of the other trainings. Every method also has:"
    yield table(COLUMNS, rows(MethodConfig, {}))
    for name in methods.names():
        kind = methods[name]
        yield f"### {name}"
        yield f"{summary(kind).split('inner:')[0].strip()} Needs: {_companions(kind)}."
        own = frozenset(kind.Config.model_fields) - frozenset(MethodConfig.model_fields)
        if own:
            yield table(COLUMNS, rows(kind.Config, {}, only=own))


def _companions(kind: Any) -> str:
    needed = [each.replace("_", " ") for each in kind.needs(kind.Config())]
    return ", ".join(needed) or "no other network"


def _plugins() -> Iterator[str]:
    yield "## Plug-ins"
    yield "`distill.plugins`: on top of any method with a teacher, in the order of the list."
    for name in plugins.names():
        yield f"### Plug-in {name}"
        yield summary(plugins[name])
        yield table(COLUMNS, rows(plugins[name].Config, {}))


def _augmentations() -> Iterator[str]:
    yield "## Augmentations"
    yield "Names in their order, some with a number: `[shift, flip, {cutout: 4}]`."
    told = []
    for name in operations.names():
        operation = operations[name]
        words = (operation.apply.__doc__ or "").strip().split("\n\n")[0]
        told.append((f"`{name}`", _number(operation.parameter), words))
    yield table(("name", "its number", "what it does"), told)


def _number(parameter: Pixels | Probability | None) -> str:
    if isinstance(parameter, Pixels):
        return f"pixels, ≥ {parameter.least}"
    return "" if parameter is None else f"probability, {parameter.default:g} by default"
