"""The list of the checks, from their registry."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from described import meaning, summary
from edgeproof.stages.verify.checks.base import Check, in_order
from tables import table

INTRODUCTION = """\
# Checks

Made from the code by `python docs/generate`; do not edit.

What the verifier holds against its own result, in the order in which it asks. A check that speaks is a finding: it
stands in the report under its name, and makes the verdict *inconclusive*, never *pass*, where nothing else is said
below. What the checks counted stands in `report.json` under each subject's `checks`, and on the page under
[Findings](report.md). A check of your own: [Extending](extending.md#a-check).
"""


def page() -> str:
    """The page as Markdown."""
    checks = in_order()
    rows = [(f"[`{check.name}`](#{check.name})", summary(type(check)).split("\n\n")[0]) for check in checks]
    return "\n\n".join([INTRODUCTION.strip(), table(("check", "speaks when"), rows), *map(_section, checks)]) + "\n"


def _section(check: Check[Any]) -> str:
    counters = [(f"`{field.name}`", meaning(check.counts, field.name)) for field in fields(check.counts)]
    parts = [f"## {check.name}", summary(type(check))]
    return "\n\n".join([*parts, *([table(("counter", "counts"), counters)] if counters else [])])
