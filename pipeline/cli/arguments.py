"""Shared arguments and options of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path | None, typer.Option("--out", help="Folder of the run (default: runs/<name>).")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a recipe key: --set distill.epochs=10.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help="Folder of local copies of data sets (default: the recipe's data.root, then $EDGEPROOF_DATA, "
        "then ~/.cache/edgeproof/data).",
    ),
]
SharedStore = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Folder of finished stages that runs share (default: $EDGEPROOF_STORE, then .store in the run's folder).",
    ),
]
Devices = Annotated[int, typer.Option(min=1, help="Processes that train on this machine, one a device.")]
NumNodes = Annotated[int, typer.Option(min=1, help="Machines that train; each runs the same command.")]
Accelerator = Annotated[str, typer.Option(help="What they train on: auto, cpu, cuda.")]
TargetOption = Annotated[
    list[str] | None, typer.Option("--option", help="An option of the target: --option hint=throughput; repeatable.")
]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the report's page when all is done.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what would run, what is there already and what the rest would take; write nothing."
    ),
]
OutputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        help="Also write the report to this file, in the format that its name says (.xml is JUnit, .md, .sarif, …), "
        "or in all formats into this folder; repeatable.",
    ),
]
AnnotationsOption = Annotated[
    str,
    typer.Option(
        "--annotations",
        help="github: print its ::error:: lines; none; auto: on GitHub Actions, and fill the step summary there.",
    ),
]
LocationOption = Annotated[
    Path | None,
    typer.Option(
        "--location", help="The file of the repository that annotations and SARIF point at (default: the baseline)."
    ),
]
