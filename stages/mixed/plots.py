"""Pareto plots: sensitivity per layer, and the front of latency against robustness."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from .assignment import Assignment
from .sensitivity import Sensitivity

_QUANTIZED, _FLOAT, _GREY = "#1f4e79", "#d98c3a", "#9aa7b5"


def draw_sensitivity(sensitivities: list[Sensitivity], chosen: Assignment, path: Path) -> None:
    """One bar a layer, in graph order; layers that stay in float in another colour."""
    figure, axes = plt.subplots(figsize=(8, 0.28 * len(sensitivities) + 1.4), layout="constrained")
    colours = [_FLOAT if each.layer in chosen.in_float else _QUANTIZED for each in sensitivities]
    axes.barh(range(len(sensitivities)), [100 * each.margin_drop for each in sensitivities], color=colours)
    axes.set_yticks(range(len(sensitivities)), [each.layer for each in sensitivities], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color=_GREY, linewidth=0.8)
    axes.set_xlabel("robust margin lost when this layer alone is quantized, % of the float model's")
    for colour, label in ((_QUANTIZED, "int8"), (_FLOAT, "stays in float")):
        axes.bar(0, 0, color=colour, label=label)
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_pareto(candidates: list[Assignment], chosen: Assignment, limits: Mapping[str, float], path: Path) -> None:
    """Every candidate's latency and robust accuracy on the validation split; the front is drawn as a line."""
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    ordered = sorted(candidates, key=lambda each: (each.latency_ms, -each.robust_accuracy))
    front: list[Assignment] = []
    for candidate in ordered:
        if not front or candidate.robust_accuracy > front[-1].robust_accuracy:
            front.append(candidate)
    axes.step(
        [each.latency_ms for each in front],
        [each.robust_accuracy for each in front],
        where="post",
        color=_GREY,
        zorder=1,
    )
    for candidate in candidates:
        taken = candidate.name == chosen.name
        axes.scatter(
            candidate.latency_ms,
            candidate.robust_accuracy,
            color=_FLOAT if taken else _QUANTIZED,
            s=60 if taken else 28,
        )
        axes.annotate(
            _short(candidate),
            (candidate.latency_ms, candidate.robust_accuracy),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8,
        )
    if "robust_accuracy" in limits:
        axes.axhline(limits["robust_accuracy"], color=_GREY, linestyle=":", linewidth=1)
    axes.set_xlabel("median latency, ms")
    axes.set_ylabel("robust accuracy, validation split")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _short(candidate: Assignment) -> str:
    base, _, rest = candidate.name.partition(" but ")
    return f"{rest.split()[0]} in float" if rest else base
