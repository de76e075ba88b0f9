"""Run differences: keys of their recipes, versions, machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....core.reading.yaml_text import parse_yaml
from ...results.report import Report

_ABSENT = "not there"


def recipe_differences(reports: Sequence[Report]) -> list[tuple[str, ...]] | None:
    """One row a key whose value is not the same in all recipes: the key, then each one's; None where one has none."""
    recipes = [_recipe(report) for report in reports]
    return None if None in recipes else _rows([flat(recipe) for recipe in recipes])


def environment_differences(reports: Sequence[Report]) -> list[tuple[str, ...]]:
    """One row a version, or part of the machine's description, that is not the same in all."""
    return _rows([flat(report.data.get("environment", {})) for report in reports])


def same_machine(reports: Sequence[Report]) -> bool:
    """Whether the runs describe their machines alike; none of them names its own."""
    machines = [report.data.get("environment", {}).get("machine") for report in reports]
    return machines[0] is not None and all(machine == machines[0] for machine in machines)


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """A nested mapping as `a.b: text`; lists of plain values are one text."""
    if isinstance(value, Mapping) and value:
        found: dict[str, str] = {}
        for key, each in value.items():
            found |= flat(each, f"{prefix}.{key}" if prefix else str(key))
        return found
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {prefix: "[" + ", ".join(map(str, value)) + "]"}
    return {prefix: "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)}


def _recipe(report: Report) -> Any:
    text = report.files.text("recipe.yaml")
    try:
        return None if text is None else parse_yaml(text)
    except ValueError:
        return None


def _rows(flattened: Sequence[Mapping[str, str]]) -> list[tuple[str, ...]]:
    keys = dict.fromkeys(key for each in flattened for key in each)
    rows = [(key, *(each.get(key, _ABSENT) for each in flattened)) for key in keys]
    return [row for row in rows if len({*row[1:]}) > 1]
