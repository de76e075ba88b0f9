"""Command line of `verify`, `compare`, `gate`, `report`, `bench`, `lint`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ...core.errors import UsageError
from ...core.reading.printable import in_one_line
from .app import app
from .arguments import AnnotationsOption, AsJson, DryRun, LocationOption, OpenPage, OutputOption
from .from_function import Call, asks, with_keys
from .output import answer, finish, write


@app.command()
@asks(
    "commands.verify:verify",
    without=("images", "labels", "class_names", "reporter"),
    overrides="--set",
    packs="--pack",
    options="--option",
    gates="--gate",
)
def verify(
    prove: Call,
    output: OutputOption = None,
    annotations: AnnotationsOption = "auto",
    location: LocationOption = None,
    open_page: OpenPage = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Prove the robustness of a model that somebody else exported, by attacking it."""
    if dry_run:
        from ..plan.verify_plan import show_plan

        answer(Call("plan.verify_plan:plan_verification", prove.given)(), as_json, show_plan)
        return
    from ..progress import Reporter
    from ..reports.deliver import Outputs

    outputs = Outputs.asked(output or (), annotations, location, as_json=as_json)
    found = prove(reporter=Reporter(quiet=as_json))
    finish(found.report, as_json, found.folder, outputs, shown=open_page)


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B [C]...",
            help="Runs' folders, their report.json, or verification/<subject>.npz; each is compared with the first.",
        ),
    ],
    figure: Annotated[str, typer.Option(help="robust or clean.")] = "robust",
    subject: Annotated[str | None, typer.Option(help="Which one of a run (default: its only engine).")] = None,
    html: Annotated[Path | None, typer.Option(help="Write all of the runs side by side into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare engines on the samples that both were verified on: lost, gained, interval and exact McNemar test."""
    from ..commands.compare import compare as run
    from ..commands.compare import show_comparison

    if len(runs) < 2:
        raise UsageError(f"compare {runs[0]}: two are needed at least; name another run after it")
    if html is not None:
        from ..commands.compare_many import page_of

        write(html, page_of(runs, figure=figure, subject=subject))
    if len(runs) == 2:
        answer(run(*runs, figure=figure, subject=subject), as_json, show_comparison)
        return
    from ..commands.compare_many import compare_all, show_all

    answer(compare_all(runs, figure=figure, subject=subject), as_json, show_all)


@app.command()
@asks("commands.gate:gate", without=(), bound_to="--for")
def gate(
    judge: Call,
    output: OutputOption = None,
    annotations: AnnotationsOption = "auto",
    location: LocationOption = None,
    as_json: AsJson = False,
) -> None:
    """Judge gates on a finished run, by themselves or against a baseline; exit 1 when one fails, 4 when one is open."""
    from ..reports.deliver import Outputs

    outputs = Outputs.asked(output or (), annotations, location, as_json=as_json)
    found = judge()
    if found.written is not None and not as_json:
        print(f"baseline: {found.written} ({found.written.stat().st_size / 1024:.1f} KiB)")
    if found.refused:
        print(f"edgeproof: --update-baseline: {in_one_line(found.refused)}", file=sys.stderr)
    finish(found.report, as_json, None, outputs)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its report.json.")],
    output: OutputOption = None,
    annotations: AnnotationsOption = "auto",
    location: LocationOption = None,
    as_json: AsJson = False,
) -> None:
    """Print the report of a finished run, or write it in other formats."""
    from ..reports.deliver import Outputs
    from ..results.finished_run import finished_report

    outputs = Outputs.asked(output or (), annotations, location, as_json=as_json)
    finish(finished_report(run), as_json, None, outputs)


@app.command()
@asks("commands.bench:bench_files", options="--option", batches="--batch")
def bench(time: Call, as_json: AsJson = False) -> None:
    """Time engines side by side, each in a process of its own: latency, throughput, memory, cold start, size."""
    from ..commands.bench import show_bench
    from ..progress import Reporter

    answer(time(reporter=Reporter(quiet=as_json)), as_json, show_bench)


@app.command()
@with_keys("adapter", "AdapterConfig")
def lint(
    model: Annotated[Path, typer.Argument(help="The ONNX file to check, from any exporter or quantizer.")],
    target: Annotated[str, typer.Option(help="The runtime that is to run it.")] = "onnxruntime",
    adapter: Mapping[str, Any] | None = None,
    as_json: AsJson = False,
) -> None:
    """Check an ONNX file against what a target wants of its Q/DQ pairs; exit 1 when something is refused or misread."""
    from ..commands.lint import lint_file, show_lint

    result = lint_file(model, target, adapter)
    answer(result, as_json, show_lint)
    raise typer.Exit(result["exit_code"])
