"""Lint command: an ONNX file against what a target wants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...core.errors import ModelError, UsageError
from ...core.onnx_reader import read_onnx, read_weights
from ...core.onnx_walk import nodes, tensors
from ...core.reading.counted import counted
from ...core.registry import nearest
from ...stages.adapt import AdapterConfig, adapt_to_itself
from ...stages.lint import lint
from ...stages.lint.rules.files import leaves_folder
from ...targets.base import Scheme, targets
from ...targets.schemes import SCHEMES
from ..recipe.validation_errors import checked

if TYPE_CHECKING:
    import onnx

# How many messages of a rule, and how many nodes of a message, are shown on a terminal.
_SHOWN = 5
_STYLES = {"error": "red", "warning": "yellow"}


def lint_file(
    path: Path, target: str = "onnxruntime", adapter: AdapterConfig | Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Check an ONNX file against a target's scheme.

    Args:
        path: the file.
        target: the runtime that is to run it.
        adapter: what it wants of its images; the file is then checked with its adapter around it, as `verify` runs it.

    Returns:
        `{model, target, scheme, errors, warnings, exit_code, findings}`; every finding is
        `{rule, severity, node, message}`, and the exit code is 1 where one is an error, else 0.

    Raises:
        UsageError: the target is unknown; the file is missing, truncated or no ONNX model, or contradicts the adapter.
    """
    scheme = scheme_named(target)
    said = checked(AdapterConfig, adapter or {}, "--")
    adapted = adapt_to_itself(path, said) if said != AdapterConfig() else None
    model = read_any(path) if adapted is None else adapted.model
    findings = [asdict(finding) for finding in lint(model, scheme)]
    errors = sum(finding["severity"] == "error" for finding in findings)
    return {
        "model": str(path),
        "target": target,
        "scheme": scheme.name,
        "errors": errors,
        "warnings": len(findings) - errors,
        "exit_code": int(errors > 0),
        "findings": findings,
    }


def scheme_named(target: str) -> Scheme:
    """The scheme of a target: of the table's, or of one that somebody else registered.

    Raises:
        UsageError: there is no such target.
    """
    if target in SCHEMES:
        return SCHEMES[target]
    known = sorted({*SCHEMES, *targets.names()})
    if target not in known:
        raise UsageError(f"--target: unknown target {target!r}{nearest(target, known)} (known: {', '.join(known)})")
    return targets[target].scheme


def read_any(path: Path) -> onnx.ModelProto:
    """Read an ONNX file of any content; external data is loaded unless some of it points out of the file's folder.

    Raises:
        ModelError: the file is missing, truncated or no ONNX model, or its external data cannot be read.
    """
    model = read_onnx(path, weights=False)
    if not (model.graph.node and model.opset_import):
        raise ModelError(f"{path}: not a valid ONNX model, or truncated (nodes or opset are missing)")
    if not all(isinstance(name, str) for node in nodes(model) for name in (node.op_type, node.name, *node.output)):
        raise ModelError(f"{path}: not a valid ONNX model, or damaged: a name is no text")
    places = [
        next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        for _, tensor in tensors(model)
        if tensor.external_data
    ]
    if not any(leaves_folder(place) for place in places):
        read_weights(model, path)
    return model


def show_lint(result: Mapping[str, Any], console: Console) -> None:
    """Print the findings by severity and rule, those of one message in one row, and a line of summary."""
    for severity, group in groupby(result["findings"], key=itemgetter("severity")):
        table = Table(severity, "what is wrong", "where", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for rule, found in groupby(group, key=itemgetter("rule")):
            _add_rows(table, Text(rule, _STYLES[severity]), found)
        console.print(table)
    counts = ", ".join(counted(result[f"{what}s"], what) for what in ("error", "warning"))
    style = "bold " + ("red" if result["errors"] else "yellow" if result["warnings"] else "green")
    summary = f"{result['model']} for {result['target']} (scheme {result['scheme']}): {counts}"
    console.print(summary, style=style, highlight=False, markup=False, soft_wrap=True)


def _add_rows(table: Table, rule: Text, found: Iterable[Mapping[str, Any]]) -> None:
    by_message: dict[str, list[str]] = {}
    for finding in found:
        by_message.setdefault(finding["message"], []).append(finding["node"] or "the model")
    for number, (message, names) in enumerate(list(by_message.items())[:_SHOWN]):
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        # Names may hold brackets, which rich would take for markup.
        where = Text(", ".join(names[:_SHOWN]) + more, overflow="fold")
        table.add_row(Text() if number else rule, Text(message), where)
    if len(by_message) > _SHOWN:
        rest = sum(len(names) for names in list(by_message.values())[_SHOWN:])
        table.add_row("", f"and {rest} more of this rule", "")
