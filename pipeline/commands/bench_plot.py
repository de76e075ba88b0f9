"""Latency plot of several engines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from ...core.reading.counted import counted

_COLOURS = ("#1f4e79", "#d98c3a", "#5b8c5a", "#8c5b7f", "#9aa7b5")


def draw_latencies(result: Mapping[str, Any], path: Path) -> None:
    """One panel a batch size, one line an engine: a dot at the median, a line from there to p99, a tick at p90."""
    engines = result["engines"]
    batches = [row["batch"] for row in engines[0]["latency_ms"]]
    height = 0.45 * len(engines) + 1.2
    figure, panels = plt.subplots(
        len(batches), 1, figsize=(8, height * len(batches)), layout="constrained", squeeze=False
    )
    for panel, (axes, batch) in enumerate(zip(panels[:, 0], batches, strict=True)):
        for place, engine in enumerate(engines):
            row, colour = engine["latency_ms"][panel], _COLOURS[place % len(_COLOURS)]
            axes.plot([row["p50"], row["p99"]], [place, place], color=colour, linewidth=1.5)
            axes.plot(row["p90"], place, marker="|", markersize=10, color=colour)
            axes.plot(row["p50"], place, marker="o", color=colour)
            axes.annotate(
                f"{row['p50']:.3g}", (row["p50"], place), xytext=(0, 7), textcoords="offset points", fontsize=8
            )
        axes.set_yticks(range(len(engines)), [engine["name"] for engine in engines], fontsize=8)
        axes.set_ylim(len(engines) - 0.5, -0.7)
        axes.set_xlim(left=0)
        axes.set_title(f"batch {batch}, {counted(result['threads'], 'thread')}", fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel("latency, ms: median, p90, p99")
    figure.savefig(path, dpi=150)
    plt.close(figure)
