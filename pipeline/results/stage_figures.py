"""Figures of single stages, from the files of a run's folder: validation accuracies and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...core.reading.json_text import read_json

_TRAINING, _VALIDATION, _PARITY = "training.json", "validation.json", "parity.json"
_MODELS = (".onnx", ".safetensors", ".ort", ".pte", ".plan", ".xml")
_LAST = "last.safetensors"


def stage_figures(folder: Path, artifacts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what each stage came to, in order: `clean_accuracy` and `pgd_accuracy` on the validation split, the
    `epoch` they are of, how far logits are from torch's, `size_bytes` of the model.

    Args:
        folder: the run's.
        artifacts: paths of its files.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in artifacts:
        stage, _, file = name.rpartition("/")
        path = folder / name
        if file == _TRAINING:
            training = read_json(path)
            best = training["best"]
            figures = {key: best[key] for key in ("clean_accuracy", "pgd_accuracy", "epoch")}
            found.setdefault(stage, {}).update(figures, epochs=len(training["history"]))
        elif file == _PARITY:
            found.setdefault(stage, {})["torch_max_difference"] = read_json(path)["clean_max_difference"]
        elif file == _VALIDATION:
            found[stage] = {**read_json(path), **found.get(stage, {})}
        elif path.suffix in _MODELS and file != _LAST and stage:
            size = sum(
                each.stat().st_size for each in path.parent.glob(f"{path.name.rpartition('.')[0]}.*") if _part(each)
            )
            found.setdefault(stage, {})["size_bytes"] = size
    return found


def figure_lines(figures: dict[str, dict[str, Any]]) -> list[str]:
    """The same as lines for people."""
    return [f"{stage}: {', '.join(_words(each))}" for stage, each in figures.items()]


def _part(file: Path) -> bool:
    """Whether a file belongs to a model: itself, or its external data."""
    return file.suffix in (*_MODELS, ".bin", ".data")


def _words(figures: dict[str, Any]) -> list[str]:
    words: list[str] = []
    if "pgd_accuracy" in figures:
        words.append(
            f"validation accuracy {figures['clean_accuracy']:.3f} clean, {figures['pgd_accuracy']:.3f} under PGD"
        )
    if "epochs" in figures:
        words.append(f"epoch {figures['epoch']} of {figures['epochs']}")
    if "torch_max_difference" in figures:
        words.append(f"logits differ from torch's by {figures['torch_max_difference']:.1e} at most")
    if "size_bytes" in figures:
        words.append(f"{figures['size_bytes'] / 1024:.1f} KiB")
    return words
