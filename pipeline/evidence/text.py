"""Evidence for people, `evidence.md`: the same as `evidence.json`, with its empty fields marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core.reading.printable import in_markdown, texts_as
from ...stages.threat import ball_text

TEXT = "evidence.md"
EMPTY = "*(to be filled by the provider)*"
_NOT_MEASURED = "Nothing was measured for this clause."


def evidence_text(found: Mapping[str, Any]) -> str:
    """Render the content of `evidence.json` as Markdown."""
    found = texts_as(in_markdown, found)
    run, conditions = found["run"], found["conditions"]
    parts = [
        f"# Evidence: {run['name']}",
        found["notice"],
        _table(
            ("", ""),
            [
                ("who", found["who"] or EMPTY),
                ("when (UTC)", found["when"] or EMPTY),
                ("verdict of the run", "; ".join([run["verdict"].upper(), *run["reasons"]])),
                ("recipe", f"`{run['recipe_digest']}`"),
                *((f"engine {each['name']}", _engine(each)) for each in found["engines"]),
                *_conditions(conditions),
            ],
        ),
    ]
    for source in found["sources"]:
        parts += [f"## {source['name']}", f"Status: {source['status']}."]
        for clause in source["clauses"]:
            parts += _clause(clause)
    parts += ["## What is not covered", _list(found["not_covered"])]
    return "\n\n".join(parts) + "\n"


def _engine(engine: Mapping[str, Any]) -> str:
    return f"SHA-256 `{engine['sha256'] or 'unknown'}`, {engine['precision'] or 'unknown'}"


def _conditions(conditions: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    threat, dataset = conditions["threat_model"], conditions["data_set"]
    digest = f", digest `{dataset['digest']}`" if dataset["digest"] else ""
    yield "threat model", f"{ball_text(threat)}, untargeted; the attacker knows the engine"
    yield "attacks", str(conditions["attacks"])
    yield "settings of the attacks", _plain(conditions["settings"]) or "unknown"
    yield "data set", f"{dataset['name'] or 'unknown'}, {dataset['split']} split{digest}"
    yield "versions", _plain(conditions["versions"])
    yield "machine", _plain(conditions["machine"]) or "unknown"


def _clause(clause: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            each["engine"],
            f"{each['metric']}: {each['meaning']}",
            f"{each['value']:.4g}",
            "" if each["interval_95"] is None else "[{:.4g}, {:.4g}]".format(*each["interval_95"]),
            str(each["samples"]),
            "; ".join(f"{gate['limit']}: {gate['outcome']}" for gate in each["thresholds"]) or "none set",
        )
        for each in clause["results"]
    ]
    columns = ("engine", "metric", "value", "95 % interval", "samples", "threshold")
    parts = [f"### {clause['name']}", f"{clause['asks'][:1].upper()}{clause['asks'][1:]}."]
    parts.append(_table(columns, rows) if rows else _NOT_MEASURED)
    devices = [
        f"device {each['device']}: {each['engine']} keeps {each['robust_accuracy']:.4g}, {each['outcome']}"
        for each in clause.get("devices", ())
    ]
    parts += [_list(devices)] if devices else []
    parts += [
        f"{engine}, robust accuracy left after each attack, in order: {_plain(left)}."
        for engine, left in clause.get("robust_accuracy_after", {}).items()
        if left
    ]
    if clause.get("findings"):
        parts.append("What speaks against the figures:\n\n" + _list(clause["findings"]))
    if clause["not_covered"]:
        parts.append("Not covered:\n\n" + _list(clause["not_covered"]))
    if clause["provider"]:
        filled = _list(f"{name}: {value or EMPTY}" for name, value in clause["provider"].items())
        parts.append(f"From the provider:\n\n{filled}")
    return parts


def _plain(section: Mapping[str, Any]) -> str:
    return "; ".join(f"{key} {_value(value)}" for key, value in section.items() if value is not None)


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
