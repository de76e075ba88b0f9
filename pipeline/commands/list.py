"""Plug-in listing: what a recipe or a command line can name, of every kind, with one line each."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from ...core.errors import UsageError
from ...core.registry import Registry, nearest


@dataclass(frozen=True)
class Kind:
    """One kind of plug-in; third parties add theirs through the entry-point group `edgeproof.<kind>`.

    Attributes:
        registry: `module:attribute`, imported when the kind is asked for: some need torch.
        summary: one line on it.
    """

    registry: str
    summary: str


KINDS = {
    "methods": Kind("stages.distill.method:methods", "distillation and adversarial training"),
    "plugins": Kind("stages.distill.plugin:plugins", "what modifies any method"),
    "augmentations": Kind("stages.distill.augment.operation:operations", "of training images"),
    "models": Kind("stages.models.base:models", "architectures of teachers and students"),
    "datasets": Kind("stages.data.base:datasets", "images and labels"),
    "precisions": Kind("stages.quantize.precisions.base:precisions", "number formats of the ONNX file"),
    "targets": Kind("targets.base:targets", "runtimes that engines are built for"),
    "norms": Kind("stages.norms.base:norms", "of the threat model"),
    "routes": Kind("stages.verify.routes.base:routes", "ways to attack an engine"),
    "checks": Kind("stages.verify.checks.base:checks", "what the verifier holds against its own attacks"),
    "figures": Kind("pipeline.figures.base:figures", "what gates and tables can show"),
    "reports": Kind("pipeline.reports.base:formats", "formats of the report"),
}
_PACKAGE = __name__.partition(".")[0]


def registry_of(kind: str) -> Registry[Any]:
    """The registry of a kind.

    Raises:
        UsageError: there is no such kind.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown kind {kind!r}{nearest(kind, KINDS)} (known: {', '.join(KINDS)})")
    module, _, name = KINDS[kind].registry.partition(":")
    return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)


def list_entries(kind: str) -> list[dict[str, Any]]:
    """Every entry of a kind as `{name, summary, origin, problem}`; the last two are None of what is edgeproof's own.

    Raises:
        UsageError: there is no such kind.
    """
    return [asdict(each) for each in registry_of(kind).describe()]


def list_kinds() -> list[dict[str, Any]]:
    """Every kind as `{name, summary, entry_points}`, the last being the group for third parties."""
    return [
        {"name": name, "summary": kind.summary, "entry_points": f"edgeproof.{name}"} for name, kind in KINDS.items()
    ]


def show_entries(entries: Sequence[dict[str, Any]], console: Console) -> None:
    """Print entries or kinds, one a line."""
    width = max((len(each["name"]) for each in entries), default=0)
    for each in entries:
        origin = f" (from {each['origin']})" if each.get("origin") else ""
        line = f"{each['name']:{width}}  {each.get('problem') or each['summary']}{origin}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
