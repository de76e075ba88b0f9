"""Where everything comes from: digests, versions, machine, recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..blocks import Section, Table
from ..run import RunView


def provenance_section(run: RunView) -> Section:
    """What the subjects, the files and the environment were."""
    data = run.report.data
    environment = data.get("environment", {})
    machine = environment.get("machine", {})
    versions = [(name, str(value)) for name, value in environment.items() if name != "machine"]
    tables = [
        Table(
            "subjects",
            "What was attacked",
            ("subject", "file", "SHA-256", *(("adapter",) if _adapted(run.subjects) else ())),
            [
                *(_attacked(each, run.subjects) for each in run.subjects),
                *(_lending(each["surrogate"], run.subjects) for each in run.subjects if each.get("surrogate")),
            ],
            stacked=True,
        ),
        Table(
            "environment",
            "Recipe, versions and machine",
            ("what", "version"),
            [
                ("recipe or request", str(data.get("recipe_digest", "unknown")).removeprefix("sha256:")),
                *versions,
                *((name, str(value)) for name, value in machine.items()),
            ],
            folded=True,
        ),
    ]
    if run.files.artifacts:
        tables.append(
            Table(
                "artifacts",
                "Files of the run, as in manifest.json",
                ("file", "SHA-256", "stage", "seed", "made from"),
                [
                    (
                        entry["path"],
                        entry["sha256"],
                        f"{entry['stage']}/{entry['key']}",
                        "" if entry.get("seed") is None else str(entry["seed"]),
                        ", ".join(entry.get("parents", ())),
                    )
                    for entry in run.files.artifacts
                ],
                folded=True,
            )
        )
    recipe = run.files.text("recipe.yaml")
    return Section(
        name="provenance",
        title="Provenance",
        tables=tables,
        listing=("The resolved recipe", recipe) if recipe else None,
    )


def _lending(surrogate: Mapping[str, Any], subjects: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    named = "surrogate", str(surrogate["path"]), str(surrogate["sha256"])
    return (*named, ", ".join(surrogate.get("adapter", ()))) if _adapted(subjects) else named


def _adapted(subjects: Sequence[Mapping[str, Any]]) -> bool:
    return any("adapter" in each or "adapter" in (each.get("surrogate") or {}) for each in subjects)


def _attacked(subject: Mapping[str, Any], subjects: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    named = subject["name"], str(subject.get("path", "")), str(subject.get("sha256", ""))
    if not _adapted(subjects):
        return named
    given = subject.get("given", {})
    of = f" around {given['path']}, SHA-256 {given['sha256']}" if given else ""
    return (*named, ", ".join(subject.get("adapter", ())) + of)
