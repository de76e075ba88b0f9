"""The table and the plot of `benchmarks/methods.py`."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgeproof.stages.statistics.proportions import clopper_pearson
from methods_contenders import Contender, Preset, contenders
from rich.console import Console
from rich.table import Table

RESULT, SPEED = "result.json", "speed.json"
FASTEST = "pgd_at"


@dataclass(frozen=True)
class Row:
    """A contender's figures, means over its seeds.

    Attributes:
        name: the contender's.
        label: in the table.
        clean: accuracy on the test images.
        pgd20: accuracy under 20 steps of PGD.
        autoattack: accuracy under AutoAttack standard.
        by_seed: accuracy under AutoAttack of every seed's student.
        spread: sample standard deviation of these; None for one.
        interval: 95 %, of the mean `autoattack`, over the draw of the images (Clopper-Pearson).
        difference: of `autoattack` from another contender's on the same images, and half the width of its 95 % interval
            over the draw of the images (normal); None for that one itself.
        images_per_second: of training; None where not measured.
        cost: time of a step, in steps of PGD-AT.
    """

    name: str
    label: str
    clean: float
    pgd20: float
    autoattack: float
    by_seed: tuple[float, ...]
    spread: float | None
    interval: tuple[float, float]
    difference: tuple[float, float] | None
    images_per_second: float | None
    cost: float | None


def summarise(preset: Preset, out: Path, against: str) -> list[Row]:
    """Summarise the finished cells, weakest first; differences are from the contender `against`."""
    found = [(contender, _results(contender, out)) for contender in contenders(preset)]
    speeds = json.loads((out / SPEED).read_text()) if (out / SPEED).is_file() else {}
    survival = {contender.name: _survival(results) for contender, results in found if results}
    table = [
        _row(contender, results, survival, speeds.get(contender.name), against)
        for contender, results in found
        if results
    ]
    return sorted(table, key=lambda row: row.autoattack)


def show(preset: Preset, out: Path, console: Console, against: str) -> None:
    """Print the table, as text and as Markdown, and draw the plot."""
    other = next(contender.label for contender in contenders(preset) if contender.name == against)
    columns = (
        "method",
        "seeds",
        "clean",
        "PGD-20",
        "AutoAttack",
        "95 % interval",
        f"minus {other}",
        "images/s",
        "cost",
    )
    title = f"same teacher ({preset.teacher}), same student ({preset.student}), {preset.samples} test images"
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == "method" else "right")
    lines = [f"| {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) - 1)}|"]
    summary = summarise(preset, out, against)
    for row in reversed(summary):
        spread = "" if row.spread is None else f" ± {row.spread:.3f}"
        values = (
            row.label,
            str(len(row.by_seed)),
            f"{row.clean:.3f}",
            f"{row.pgd20:.3f}",
            f"{row.autoattack:.3f}{spread}",
            f"[{row.interval[0]:.3f}, {row.interval[1]:.3f}]",
            "" if row.difference is None else f"{row.difference[0]:+.3f} ± {row.difference[1]:.3f}",
            "" if row.images_per_second is None else f"{row.images_per_second:.0f}",
            "" if row.cost is None else f"{row.cost:.2f}",
        )
        table.add_row(*values)
        lines.append(f"| {' | '.join(values)} |")
    console.print(table)
    several = (row for row in reversed(summary) if len(row.by_seed) > 1)
    found = "; ".join(f"{row.label} {', '.join(f'{value:.3f}' for value in row.by_seed)}" for row in several)
    console.print(line := f"AutoAttack by seed: {found}", highlight=False)
    lines.append(f"\n{line}")
    for name in ("teacher", "natural_teacher"):
        if (out / name / RESULT).is_file():
            result = json.loads((out / name / RESULT).read_text())
            line = (
                f"{name}: clean {result['clean']:.3f}, PGD-20 {result['pgd20']:.3f}, "
                f"AutoAttack {result['autoattack']:.3f}"
            )
            console.print(line, highlight=False)
            lines.append(f"\n{line}")
    (out / "methods.md").write_text("\n".join(lines) + "\n")
    (out / "methods.json").write_text(json.dumps([asdict(row) for row in summary], indent=1))
    if summary:
        draw(summary, out / "methods.png")
        console.print(f"{out / 'methods.md'}, {out / 'methods.png'}", highlight=False)


def draw(summary: list[Row], path: Path) -> None:
    """Draw AutoAttack with its interval against clean accuracy."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.34 * len(summary) + 1.6), layout="constrained")
    for place, row in enumerate(summary):
        axes.plot(row.interval, (place, place), color="#9aa7b5", linewidth=2, zorder=1)
        axes.scatter(row.autoattack, place, color="#1f4e79", zorder=3)
        axes.scatter(row.clean, place, color="#d98c3a", marker="D", s=22, zorder=2)
    axes.set_yticks(range(len(summary)), [row.label for row in summary])
    axes.scatter([], [], color="#1f4e79", label="AutoAttack, with 95 % interval")
    axes.scatter([], [], color="#d98c3a", marker="D", s=22, label="clean")
    axes.set_xlabel("accuracy on the same test images")
    axes.grid(axis="x", color="#e3e7ec")
    axes.set_axisbelow(True)
    axes.margins(y=0.02)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.06), ncols=2)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _results(contender: Contender, out: Path) -> list[dict[str, Any]]:
    paths = [out / f"{contender.name}-{seed}" / RESULT for seed in range(contender.seeds)]
    return [json.loads(path.read_text()) for path in paths if path.is_file()]


def _survival(results: list[dict[str, Any]]) -> np.ndarray:
    """The share of the seeds, by image, whose student withstands."""
    return np.mean([[int(bit) for bit in result["robust"]] for result in results], axis=0)


def _row(
    contender: Contender,
    results: list[dict[str, Any]],
    survival: dict[str, np.ndarray],
    speed: dict[str, float] | None,
    against: str,
) -> Row:
    def mean(key: str) -> float:
        return statistics.fmean(result[key] for result in results)

    robust = [result["autoattack"] for result in results]
    ours = survival[contender.name]
    difference = None
    if contender.name != against and against in survival:
        apart = ours - survival[against]
        difference = float(apart.mean()), 1.96 * float(apart.std(ddof=1)) / len(apart) ** 0.5
    return Row(
        contender.name,
        contender.label,
        mean("clean"),
        mean("pgd20"),
        mean("autoattack"),
        tuple(robust),
        statistics.stdev(robust) if len(robust) > 1 else None,
        clopper_pearson(round(ours.sum()), len(ours)),
        difference,
        None if speed is None else speed["images_per_second"],
        None if speed is None else speed["cost"],
    )
