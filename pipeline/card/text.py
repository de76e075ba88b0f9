"""Model card text: what was attacked, how hard, and what a pass does not mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.reading.printable import in_markdown, texts_as
from ...stages.threat import radius_text
from ..figures.ledger import ledger
from ..reports.rows import images_attacked
from ..results.report import Report
from .budget import UNKNOWN, attack_budgets, recipe_in

_MACHINE = ("system", "architecture", "processor")
LIMITS = (
    "It speaks of this threat model alone: other norms, larger balls, patches, rotations, corruptions and inputs that "
    "are no test images are not covered.",
    "It is measured, not certified: attacks were tried and failed. A stronger attack may succeed, so every robust "
    "accuracy is an upper bound of the true one.",
    "It speaks of these samples; the intervals say how far other samples of the same distribution may differ, and "
    "nothing of another distribution.",
    "It belongs to the engine files named by their SHA-256, on the runtime and versions named; another build, runtime "
    "or processor has to be replayed or attacked itself.",
    "It says nothing of training data that was tampered with, of backdoors, of privacy, or of fairness between groups.",
)


def card_text(run: Path, report: Report, dataset: Mapping[str, str], license_name: str | None) -> str:
    """The text below a model card's metadata, as Markdown."""
    report = replace(report, data=texts_as(in_markdown, report.data))
    dataset = texts_as(in_markdown, dataset)
    recipe = texts_as(in_markdown, recipe_in(run / "recipe.yaml"))
    data = report.data
    parts = [
        f"# {data['name']}",
        f"Image classifiers for edge devices, attacked as the engines that ship. Verdict of the run: "
        f"**{data['verdict'].upper()}**" + "".join(f"; {reason}" for reason in data.get("reasons", ())) + ".",
        "## Engines",
        _engines([subject for subject in report.subjects if subject["kind"] == "engine"]),
        "## Threat model",
        _threat(report, dataset),
        "## Figures",
        _figures(report),
        *_gates(data),
        *_devices(data),
        "## Attack budget",
        _budget(run, data),
        "## Training",
        _training(recipe, dataset),
        "## Quantization",
        _quantization(recipe, report),
        "## What a pass does not mean",
        "\n".join(f"- {line}" for line in LIMITS),
        *_warnings(report),
        "## Provenance",
        _provenance(data, license_name),
    ]
    return "\n\n".join(parts) + "\n"


def _engines(engines: Sequence[Mapping[str, Any]]) -> str:
    found = ledger(engines, "engines")
    rows = [
        (
            _with_options(engine),
            str(engine.get("precision") or ""),
            *row,
            f"`{engine.get('sha256') or UNKNOWN}`",
        )
        for engine, row in zip(engines, found.rows, strict=True)
    ]
    return _table(("engine", "precision", *found.columns, "SHA-256"), rows)


def _with_options(engine: Mapping[str, Any]) -> str:
    options = engine.get("options") or {}
    chosen = f" ({', '.join(f'{key}={value}' for key, value in options.items())})" if options else ""
    return engine["name"] + chosen


def _threat(report: Report, dataset: Mapping[str, str]) -> str:
    threat = report.data["threat_model"]
    name, digest = dataset.get("name", "unknown"), dataset.get("digest")
    return (
        f"An attacker who knows the engine changes every pixel of an image, within an {threat['norm']} ball of radius "
        f"{radius_text(threat['eps'])} around it and within [0, 1], to have it misclassified (untargeted, white box "
        f"through a differentiable twin of the engine's own graph, and black box). Attacked: {images_attacked(report)} "
        f"of `{name}`" + (f" (digest `{digest}`)." if digest else ".")
    )


def _figures(report: Report) -> str:
    found = ledger(report.subjects, "card")
    rows = [
        (subject["name"], str(subject["samples"]), *row)
        for subject, row in zip(report.subjects, found.rows, strict=True)
    ]
    return _table(("subject", "samples", *found.columns), rows)


def _gates(data: Mapping[str, Any]) -> list[str]:
    if not data.get("gates"):
        return []
    rows = [
        (
            str(gate["name"]),
            str(gate["limit"]),
            "" if gate.get("value") is None else f"{gate['value']:.4g}",
            str(gate["outcome"]),
        )
        for gate in data["gates"]
    ]
    return ["## Gates", _table(("gate", "limit", "value", "outcome"), rows)]


def _devices(data: Mapping[str, Any]) -> list[str]:
    if not data.get("devices"):
        return []
    rows = [
        (
            device["device"],
            device["engine"],
            device["target"],
            f"`{device['engine_sha256'][:16]}…`",
            f"{device['robust_accuracy']:.3f} (run: {device['run']['robust_accuracy']:.3f})",
            f"{len(device['lost'])} ({device['allowed']} allowed)",
            device["outcome"],
        )
        for device in data["devices"]
    ]
    columns = ("device", "engine", "runtime", "SHA-256", "robust, by replay", "samples lost", "outcome")
    return ["## Devices", _table(columns, rows)]


def _budget(run: Path, data: Mapping[str, Any]) -> str:
    found = attack_budgets(run)
    intro = (
        f"Attacked with {data['environment']['attacks']}. Each attack is run on the samples that withstood the ones "
        "before it; a sample counts as robust only if it withstood all of them, and every example that was found on "
        "any other subject."
    )
    if not found:
        return f"{intro} The single budgets are {UNKNOWN}."
    rows = [
        (*map(in_markdown, (each.subject, each.attack, each.gradients or "-", each.budget)), str(each.candidates))
        for each in found
    ]
    return f"{intro}\n\n" + _table(("subject", "attack", "gradients", "budget", "examples kept"), rows)


def _training(recipe: Mapping[str, Any], dataset: Mapping[str, str]) -> str:
    if not recipe:
        return "Not known: the model was exported elsewhere, and this run only attacked it."
    data, teacher = recipe.get("data", {}), recipe.get("teacher", {})
    distill, student = recipe.get("distill", {}), recipe.get("student", {})
    lines = [
        f"- data: training split of `{data.get('dataset', dataset.get('name'))}`, seed {data.get('seed')}"
        + (f", {data['train']} images" if data.get("train") else "")
        + (f", with generated images of `{Path(str(data['extra'])).name}`" if data.get("extra") else ""),
        f"- teacher: {_teacher(teacher)}",
        f"- student: `{student.get('model')}`, distilled by `{distill.get('method')}`"
        + "".join(f" + {plugin}" for plugin in distill.get("plugins") or ())
        + f", {distill.get('epochs')} epochs, seed {distill.get('seed')}",
    ]
    if recipe.get("prune"):
        lines.append(f"- pruned: {_plain(recipe['prune'], ('ratio', 'method'))}")
    lines.append("- selection of any kind used the validation split; the test split was touched once, by the attacks")
    return "\n".join(lines)


def _teacher(teacher: Mapping[str, Any]) -> str:
    if teacher.get("robustbench"):
        return f"RobustBench `{teacher['robustbench']}`"
    if teacher.get("checkpoint"):
        return f"`{teacher.get('model')}`, from the checkpoint `{Path(str(teacher['checkpoint'])).name}`"
    train = teacher.get("train") or {}
    trained = f", trained by `{train.get('method')}`, {train.get('epochs')} epochs" if train else ""
    return f"`{teacher.get('model')}`{trained}"


def _quantization(recipe: Mapping[str, Any], report: Report) -> str:
    lines: list[str] = []
    for subject in report.subjects:
        if subject["kind"] != "engine":
            continue
        found = subject.get("calibration") or {}
        about = (
            f", scheme `{found.get('scheme')}`, {found.get('method')} calibration on {found.get('samples')} "
            f"{found.get('images')} images of the {found.get('split')} split"
            if found
            else ""
        )
        lines.append(f"- {subject['name']}: {subject.get('precision', UNKNOWN)}{about}")
    if recipe.get("recover"):
        lines.append(
            f"- robustness learnt back in the quantized graph: {_plain(recipe['recover'], ('method', 'epochs'))}"
        )
    return "\n".join(lines) or UNKNOWN


def _warnings(report: Report) -> list[str]:
    found = [f"- {subject['name']}: {line}" for subject in report.subjects for line in subject.get("warnings", ())]
    return ["## Warnings of this run", "\n".join(found)] if found else []


def _provenance(data: Mapping[str, Any], license_name: str | None) -> str:
    environment = data.get("environment", {})
    versions = ", ".join(
        f"{name} {value}" for name, value in environment.items() if isinstance(value, str) and name != "attacks"
    )
    machine = environment.get("machine", {})
    return "\n".join(
        (
            f"- recipe: `{data['recipe_digest']}`",
            f"- versions: {versions}",
            f"- machine: {' '.join(str(machine[key]) for key in _MACHINE if machine.get(key)) or 'unknown'}",
            f"- licence of the weights: {license_name or 'not stated'}",
            "- in a bundle: `bundle.json` lists the SHA-256 of every file, `bom.cdx.json` is the bill of materials, "
            "`edgeproof verify-bundle` checks all of it",
        )
    )


def _plain(section: Mapping[str, Any], keys: Iterable[str]) -> str:
    return ", ".join(f"{key} {section[key]}" for key in keys if section.get(key) is not None)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
