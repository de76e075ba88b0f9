"""Attack budget of a finished run: every attack with its steps, restarts, queries and samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.reading.counted import counted
from ...core.reading.json_text import read_json
from ...core.reading.yaml_text import read_yaml
from ...stages.adversarial_pack_manifest import MANIFEST, read_manifest
from ..store.place import record_in

# AutoAttack standard, as `pyautoattack` runs it, and this package's own routes; a test holds them to both.
APGD_STEPS, FAB_STEPS, TARGETS, RESTARTS = 100, 100, 9, 1
PROBE_STEPS, PROBE_DRAWS, PROBE_QUERIES = 20, 8, 800
UNKNOWN = "not recorded"
# What a candidate's name carries when it was rounded to 8 bits and put back.
ROUNDED = "8-bit"
_EIGHT_BIT = "its examples rounded; where none holds, again on the 1/255 grid (square: a fifth of its queries)"
_GRADIENTS = {
    "relu": "twin, zero only below a clip that is a ReLU",
    "relu-ceiling": "twin, zero above the upper clip as well",
    "identity": "twin, identity everywhere",
    "clipped": "twin, zero where clipped",
    "smooth": "twin, smoothed quantizers",
    "surrogate": "the float model's",
    "joint": "twin and float model together",
    "difference": "what fools the engine and not the float model",
    "rescaled": "twin, logits rescaled",
}


@dataclass(frozen=True)
class AttackBudget:
    """One attack on one subject.

    Attributes:
        subject: who was attacked.
        attack: its name.
        gradients: where its gradients came from; empty for a black box, and where they are the model's own.
        budget: steps, restarts, targets, queries.
        candidates: how many adversarial examples it left in the pack.
    """

    subject: str
    attack: str
    gradients: str
    budget: str
    candidates: int


def attack_budgets(run: Path) -> list[AttackBudget]:
    """Every attack that left examples in a run's packs, in the packs' order."""
    try:
        packs = read_manifest(run / "adversarial" / MANIFEST)["packs"]
    except (OSError, ValueError, KeyError):
        return []
    settings = verify_settings(run)
    return [
        AttackBudget(pack.get("subject", UNKNOWN), *_named(label), _budget(label, settings), count)
        for pack in packs
        for label, count in pack.get("attacks", {}).items()
    ]


def verify_settings(run: Path) -> Mapping[str, Any]:
    """The `verify` section that a run was attacked under: its recipe's or report's, or what an old store recorded."""
    recipe = recipe_in(run / "recipe.yaml")
    if isinstance(recipe.get("verify"), dict):
        return recipe["verify"]
    report = record_in(run / "report.json")
    if isinstance(report.get("verify"), dict):
        return report["verify"]
    for record in sorted((run / ".store" / "attack").glob("*/*/stage.json")):
        try:
            return read_json(record)["config"]["verify"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}


def recipe_in(path: Path) -> Mapping[str, Any]:
    """A mapping in a YAML file; empty where there is none."""
    try:
        found = read_yaml(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(label: str) -> tuple[str, str]:
    name, _, gradients = label.partition("/")
    parts = [part for part in gradients.split("/") if part]
    if ROUNDED in parts:
        name = f"{name}, 8-bit images"
    return name, ", ".join(_GRADIENTS.get(part, part) for part in parts if part != ROUNDED)


def _budget(label: str, settings: Mapping[str, Any]) -> str:
    queries = settings.get("square_queries")
    iterations = settings.get("hard_label_iterations")
    if ROUNDED in label.split("/"):
        return _EIGHT_BIT
    known = {
        "apgd-ce": f"{APGD_STEPS} steps, {_restarts()}",
        "apgd-t": f"{APGD_STEPS} steps, {_restarts()}, up to {TARGETS} targets",
        "fab-t": f"{FAB_STEPS} steps, {_restarts()}, up to {TARGETS} targets",
        "square": f"{queries} queries, {_restarts()}" if queries else UNKNOWN,
        "probe": f"{PROBE_STEPS} steps of {PROBE_DRAWS} averaged gradients, up to {PROBE_QUERIES} queries; up to "
        f"{queries or UNKNOWN} where these find something or activations have fewer than 8 bits",
        "hop-skip-jump": f"{iterations} iterations" if iterations else UNKNOWN,
    }
    return known.get(label.partition("/")[0], UNKNOWN)


def _restarts() -> str:
    return counted(RESTARTS, "restart")
