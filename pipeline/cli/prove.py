"""`verify`, `compare`, `gate`, `report`, `bench`, `lint`: asked of models and reports that are there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import UsageError
from .app import app
from .arguments import (
    AnnotationsOption,
    AsJson,
    DataRoot,
    LocationOption,
    OutputOption,
    SharedStore,
    TargetOption,
    Workers,
)
from .output import answer, finish, write


@app.command()
def verify(
    model: Annotated[
        str,
        typer.Argument(
            help="The model to attack: an ONNX file from any exporter, an engine, or package.module:function."
        ),
    ],
    dataset: Annotated[
        str, typer.Option(help="The data set whose test split is attacked: a name, or package.module:function.")
    ],
    eps: Annotated[str, typer.Option(help="Radius of the ball: a number, or a fraction such as 8/255.")],
    norm: Annotated[str, typer.Option(help="Linf or L2.")] = "Linf",
    samples: Annotated[int | None, typer.Option(min=1, help="How many test images (default: all).")] = None,
    data_root: DataRoot = None,
    store: SharedStore = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Resize the images (gtsrb, eurosat, imagefolder).")
    ] = None,
    graph: Annotated[
        Path | None, typer.Option(help="The ONNX file that the model was built from, where it is none itself.")
    ] = None,
    surrogate: Annotated[
        Path | None, typer.Option(help="Another ONNX model of the task, whose gradients and examples help.")
    ] = None,
    pack: Annotated[
        list[Path] | None,
        typer.Option(help="A pack of an earlier run (its adversarial/NAME.npz), which is replayed; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the proof (default: runs/verify-<model>).")] = None,
    target: Annotated[str, typer.Option(help="The runtime that runs the model.")] = "onnxruntime",
    options: TargetOption = None,
    gate: Annotated[
        list[str] | None, typer.Option(help="A condition such as 'robust_accuracy >= 0.5'; repeatable.")
    ] = None,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="Attack only until every gate is decided, at 5 % error.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample draw and of the attacks.")] = 0,
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help="Also the accuracy under common corruptions (noise, blur, JPEG, …).")
    ] = False,
    curve: Annotated[
        bool, typer.Option("--curve/--no-curve", help="Also the accuracy at other radii (not with --sequential).")
    ] = True,
    workers: Workers = None,
    num_nodes: Annotated[
        int, typer.Option(min=1, help="Machines that share the attacks; each runs this command and sees --out.")
    ] = 1,
    output: OutputOption = None,
    annotations: AnnotationsOption = "auto",
    location: LocationOption = None,
    as_json: AsJson = False,
) -> None:
    """Prove the robustness of a model that somebody else exported, by attacking it."""
    from ...stages.verify import CorruptionsConfig
    from ..commands.verify import name_of
    from ..commands.verify import verify as run
    from ..progress import Reporter
    from ..reports.deliver import Outputs

    outputs = Outputs.asked(output or (), annotations, location, as_json=as_json)
    folder = out or Path("runs") / f"verify-{name_of(model)}"
    report = run(
        model,
        dataset=dataset,
        eps=eps,
        norm=norm,
        samples=samples,
        data_root=data_root,
        store=store,
        image_size=image_size,
        graph=graph,
        surrogate=surrogate,
        packs=pack or (),
        out=folder,
        target=target,
        options=options or (),
        gates=gate or (),
        sequential=sequential,
        seed=seed,
        corruptions=CorruptionsConfig() if corruptions else None,
        curve=curve,
        workers=workers,
        num_nodes=num_nodes,
        reporter=Reporter(quiet=as_json),
    )
    finish(report, as_json, folder, outputs)


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
def gate(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its report.json.")],
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="A condition such as 'retention >= 0.97' or 'robust_accuracy >= baseline - 0.03'; repeatable. "
            "Default: the recipe's gates."
        ),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="The file that gates against a baseline compare with, sample by sample.")
    ] = None,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write this run into --baseline, if it passes its absolute gates.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="With --update-baseline: even if it does not.")] = False,
    output: OutputOption = None,
    annotations: AnnotationsOption = "auto",
    location: LocationOption = None,
    as_json: AsJson = False,
) -> None:
    """Judge gates on a finished run, by themselves or against a baseline; exit 1 when one fails, 4 when one is open."""
    from ..commands.gate import gate as judge
    from ..reports.deliver import Outputs

    outputs = Outputs.asked(output or (), annotations, location, as_json=as_json)
    found = judge(run, require=require or (), baseline=baseline, update_baseline=update_baseline, force=force)
    if found.written is not None and not as_json:
        print(f"baseline: {found.written} ({found.written.stat().st_size / 1024:.1f} KiB)")
    if found.refused:
        print(f"edgeproof: --update-baseline: {found.refused}", file=sys.stderr)
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
    from ..results.report import Report

    outputs = Outputs.asked(output or (), annotations, location, as_json=as_json)
    finish(Report.load(_report_file(run)), as_json, None, outputs)


@app.command()
def bench(
    engine: Annotated[
        str,
        typer.Argument(help=r"What to time: an engine or ONNX FILE, TARGET:FILE, or TARGET\[name=value,...]:FILE."),
    ],
    target: Annotated[str, typer.Option(help="The runtime of files that are named without one.")] = "onnxruntime",
    options: TargetOption = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Another engine, written likewise, timed in turn; repeatable. Ratios to the first."),
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="A batch size; repeatable.")] = None,
    repeats: Annotated[int, typer.Option(min=10, help="Timed calls of each engine and batch size, at least.")] = 300,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each runtime, on as many cores.")] = 1,
    plot: Annotated[Path | None, typer.Option(help="Draw the latencies into this picture.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time engines side by side, each in a process of its own: latency, throughput, memory, cold start, size."""
    from ..commands.bench import bench_files, show_bench
    from ..progress import Reporter

    result = bench_files(
        engine,
        target=target,
        options=options or (),
        against=against or (),
        batches=tuple(dict.fromkeys(batch or (1, 32))),
        repeats=repeats,
        threads=threads,
        plot=plot,
        reporter=Reporter(quiet=as_json),
    )
    answer(result, as_json, show_bench)


@app.command()
def lint(
    model: Annotated[Path, typer.Argument(help="The ONNX file to check, from any exporter or quantizer.")],
    target: Annotated[str, typer.Option(help="The runtime that is to run it.")] = "onnxruntime",
    as_json: AsJson = False,
) -> None:
    """Check an ONNX file against what a target wants of its Q/DQ pairs; exit 1 when something is refused or misread."""
    from ..commands.lint import lint_file, show_lint

    result = lint_file(model, target)
    answer(result, as_json, show_lint)
    raise typer.Exit(result["exit_code"])


def _report_file(path: Path) -> Path:
    return path / "report.json" if path.is_dir() else path
