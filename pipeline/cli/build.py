"""Command line of `build`, and of every stage as a command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import UsageError
from .app import app
from .arguments import (
    Accelerator,
    AsJson,
    DataRoot,
    Devices,
    DryRun,
    NumNodes,
    OpenPage,
    Out,
    Overrides,
    SharedStore,
    TargetOption,
)
from .from_function import Call, asks, with_keys
from .output import answer, finish

if TYPE_CHECKING:
    from ..commands.build import Stop


@app.command()
@asks("commands.build:build", without=("until", "reporter"), overrides="--set")
def build(run: Call, open_page: OpenPage = False, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Run a recipe from teacher to attacked engine, and report."""
    if dry_run:
        from ..plan.build_plan import show_plan

        answer(Call("plan.build_plan:plan_build", run.given)(), as_json, show_plan)
        return
    _finish(run, None, as_json, shown=open_page)


def _finish(run: Call, until: Stop | None, as_json: bool, *, shown: bool = False) -> None:
    from ..progress import Reporter

    built = run(until=until, reporter=Reporter(quiet=as_json))
    if not built.artifacts:  # this process only helped to train; another one reports
        return
    if built.report is not None:
        finish(built.report, as_json, built.folder, shown=shown)
        return
    from ..results.stage_figures import figure_lines, stage_figures

    figures = stage_figures(built.folder, built.artifacts)
    if as_json:
        print(json.dumps({"folder": str(built.folder), "artifacts": list(built.artifacts), "figures": figures}))
    else:
        print("\n".join([*figure_lines(figures), *(str(built.folder / name) for name in built.artifacts)]))


def _of_recipe(
    recipe: Path,
    out: Path | None,
    data_root: Path | None,
    store: Path | None,
    overrides: list[str] | None,
    devices: int,
    num_nodes: int,
    accelerator: str,
) -> Call:
    """The build of a recipe, for a command that takes another file as well."""
    chosen = {"out": out, "data_root": data_root, "store": store, "overrides": overrides or ()}
    trained = {"devices": devices, "num_nodes": num_nodes, "accelerator": accelerator}
    return Call("commands.build:build", {"recipe": recipe, **chosen, **trained})


def _stage_command(stop: Stop, words: str) -> None:
    @asks("commands.build:build", without=("until", "workers", "reporter"), overrides="--set")
    def command(run: Call, as_json: AsJson = False) -> None:
        _finish(run, stop, as_json)

    app.command(stop, help=words, rich_help_panel="Stages")(command)


_stage_command("teacher", "Make the teacher: train it, or load its checkpoint.")
_stage_command("distill", "Make the student, and what it needs.")
_stage_command("prune", "Remove channels of the student and fine-tune it, and what it needs.")
_stage_command("export", "Export the student as float ONNX, and what it needs.")
_stage_command("quantize", "Quantize the ONNX file for every target, and what it needs.")


@app.command("compile", rich_help_panel="Stages")
@with_keys("adapter", "AdapterConfig")
def compile_(
    source: Annotated[Path, typer.Argument(help="A recipe, or an ONNX file.", metavar="RECIPE|MODEL")],
    dataset: Annotated[
        str | None,
        typer.Option(help="Of an ONNX file: whose images the engine takes, by name, path or function."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Of an ONNX file: the runtime of the engine (default: onnxruntime).")
    ] = None,
    options: TargetOption = None,
    image_size: Annotated[
        str | None, typer.Option(help="Of an ONNX file: resize image files to this side, or HEIGHTxWIDTH.")
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Of an ONNX file: read image files as grey.")] = False,
    out: Out = None,
    force: Annotated[
        bool, typer.Option("--force", help="Of an ONNX file: replace the engine of another file or data set in --out.")
    ] = False,
    overrides: Overrides = None,
    data_root: DataRoot = None,
    store: SharedStore = None,
    devices: Devices = 1,
    num_nodes: NumNodes = 1,
    accelerator: Accelerator = "auto",
    adapter: Mapping[str, Any] | None = None,
    as_json: AsJson = False,
) -> None:
    """Build every target's engine of a recipe and what it needs, or a target's engine of an ONNX file."""
    if source.suffix != ".onnx":
        if dataset or target or options or image_size or grey or force or adapter:
            raise UsageError(
                "--dataset, --target, --option, --image-size, --grey, --force and an adapter are for an ONNX file; a "
                "recipe has its own"
            )
        _finish(
            _of_recipe(source, out, data_root, store, overrides, devices, num_nodes, accelerator), "compile", as_json
        )
        return
    if store is not None or overrides:
        raise UsageError("--store and --set: are for a recipe; an engine of an ONNX file lies in its own folder")
    if dataset is None:
        raise UsageError(f"{source}: an ONNX file needs --dataset as well, whose images the engine takes")
    from ..commands.compile import compile_file, show_compiled
    from ..progress import Reporter

    result = compile_file(
        source,
        dataset=dataset,
        out=out or Path("runs") / f"compile-{source.stem}",
        force=force,
        target=target or "onnxruntime",
        options=options or (),
        data_root=data_root,
        image_size=image_size,
        grey=grey,
        adapter=adapter,
        reporter=Reporter(quiet=as_json),
    )
    answer(result, as_json, show_compiled)


@app.command(rich_help_panel="Stages")
@with_keys("adapter", "AdapterConfig")
def recover(
    source: Annotated[
        Path, typer.Argument(help="A recipe with a `recover` section, or an ONNX file.", metavar="RECIPE|MODEL")
    ],
    teacher: Annotated[
        str | None,
        typer.Option(help="Of an ONNX file: a float ONNX file, a checkpoint, MODEL=FILE, package.module:function."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Of an ONNX file: what it learns from, by name, path or function."),
    ] = None,
    eps: Annotated[str | None, typer.Option(help="Of an ONNX file: radius of the ball, such as 8/255.")] = None,
    norm: Annotated[str, typer.Option(help="Of an ONNX file: Linf or L2.")] = "Linf",
    target: Annotated[str, typer.Option(help="Whose scheme a float ONNX file is quantized in.")] = "onnxruntime",
    weights: Annotated[
        str | None, typer.Option(help="Of a teacher's checkpoint with several: ema (the default), raw, or their keys.")
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(help="Of an ONNX file: resize image files to this side, or HEIGHTxWIDTH.")
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Of an ONNX file: read image files as grey.")] = False,
    out: Out = None,
    overrides: Overrides = None,
    data_root: DataRoot = None,
    store: SharedStore = None,
    devices: Devices = 1,
    num_nodes: NumNodes = 1,
    accelerator: Accelerator = "auto",
    adapter: Mapping[str, Any] | None = None,
    as_json: AsJson = False,
) -> None:
    """Learn back, in the quantized ONNX file itself, the robustness that quantization cost."""
    if source.suffix != ".onnx":
        if teacher or dataset or eps or adapter:
            raise UsageError("--teacher, --dataset, --eps and an adapter are for an ONNX file; a recipe has its own")
        _finish(
            _of_recipe(source, out, data_root, store, overrides, devices, num_nodes, accelerator), "recover", as_json
        )
        return
    if store is not None:
        raise UsageError(f"--store: is for a recipe; what is learnt in {source} is kept in its own folder")
    from ..commands.recover import recover_file, show_recovery
    from ..progress import Reporter

    if teacher is None or dataset is None or eps is None:
        raise UsageError(f"{source}: an ONNX file needs --teacher, --dataset and --eps as well")
    result = recover_file(
        source,
        teacher=teacher,
        dataset=dataset,
        eps=eps,
        norm=norm,
        target=target,
        out=out or Path("runs") / f"recover-{source.stem}",
        overrides=overrides or (),
        data_root=data_root,
        image_size=image_size,
        grey=grey,
        weights=weights,
        adapter=adapter,
        reporter=Reporter(quiet=as_json),
    )
    answer(result, as_json, show_recovery)
