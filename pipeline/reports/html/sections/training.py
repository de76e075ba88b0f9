"""The training curves of everything that was trained in the run."""

from __future__ import annotations

from pathlib import PurePosixPath

from .....core.reading.counted import counted
from ..blocks import Plot, Section, Table
from ..draw import Line, lines
from ..run import RunView

METRICS = "metrics.csv"
_SHOWN = ("epoch", "loss", "clean_accuracy", "pgd_accuracy")


def training_section(run: RunView) -> Section | None:
    """Validation accuracies and loss by epoch; None where nothing was trained."""
    tables = [(str(PurePosixPath(path).parent), run.files.table(path)) for path in run.files.named(METRICS)]
    found = [(name, rows) for name, rows in tables if rows and {*_SHOWN} <= {*rows[0]}]
    if not found:
        return None
    return Section(
        name="training",
        title="Training",
        plots=[_plot(name, rows) for name, rows in found],
        notes=["Accuracies of the validation split after every epoch; by PGD, a quick attack, the epoch is selected."],
    )


def _plot(name: str, rows: list[dict[str, str]]) -> Plot:
    epochs = [float(row["epoch"]) for row in rows]
    losses = [float(row["loss"]) for row in rows]
    scale = max(losses) or 1.0
    slug = name.replace("/", "-")
    drawn = lines(
        f"training-{slug}-plot",
        f"Training of {name}",
        [
            Line("clean", epochs, [float(row["clean_accuracy"]) for row in rows], 0),
            Line("PGD", epochs, [float(row["pgd_accuracy"]) for row in rows], 1),
            Line(f"loss / {scale:.3g}", epochs, [loss / scale for loss in losses], 2, dashed=True),
        ],
        "epoch",
        "validation accuracy",
        height=2.5,
    )
    columns = list(rows[0])
    table = Table(
        f"training-{slug}",
        f"Training of {name}, by epoch",
        columns,
        [[_short(column, row[column]) for column in columns] for row in rows],
        (columns, [[row[column] for column in columns] for row in rows]),
        folded=True,
    )
    caption = f"{name}: {counted(len(rows), 'epoch')}; the loss is divided by its largest."
    return Plot(f"training-{slug}-plot", caption, drawn, table)


def _short(column: str, text: str) -> str:
    try:
        return f"{float(text):.3f}" if column.endswith(("accuracy", "loss")) else f"{float(text):.4g}"
    except ValueError:
        return text
