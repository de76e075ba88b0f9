"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..stages.freed_memory import keep_freed_memory
from ..targets.errors import EdgeproofError, UsageError
from .following import follows

if TYPE_CHECKING:
    from .report import Report
    from .run import Stop

app = typer.Typer(
    name="edgeproof",
    help="Distil a robust teacher into a compact student, build the edge engine, attack the engine itself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeFile = Annotated[Path, typer.Argument(help="The recipe, a YAML file.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the run (default: runs/<name>).")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a recipe key: --set distill.epochs=10.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes that attack (default: one a core).")]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help="Folder of local copies of data sets (default: the recipe's data.root, then $EDGEPROOF_DATA, "
        "then ~/.cache/edgeproof/data).",
    ),
]
Devices = Annotated[int, typer.Option(min=1, help="Processes that train on this machine, one a device.")]
NumNodes = Annotated[int, typer.Option(min=1, help="Machines that train; each runs the same command.")]
Accelerator = Annotated[str, typer.Option(help="What they train on: auto, cpu, cuda.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]


def main() -> None:
    """Run the command line; a mistake of the user's is one line on stderr, never a traceback."""
    keep_freed_memory()
    try:
        app()
    except EdgeproofError as error:
        if not follows():  # the leading process says it
            print(f"edgeproof: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("edgeproof: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


@app.command()
def build(
    recipe: RecipeFile,
    out: Out = None,
    overrides: Overrides = None,
    data_root: DataRoot = None,
    workers: Workers = None,
    devices: Devices = 1,
    num_nodes: NumNodes = 1,
    accelerator: Accelerator = "auto",
    as_json: AsJson = False,
) -> None:
    """Run a recipe from teacher to attacked engine, and report."""
    from .progress import Reporter
    from .run import build as run

    built = run(
        recipe,
        out=out,
        overrides=overrides or (),
        data_root=data_root,
        workers=workers,
        devices=devices,
        num_nodes=num_nodes,
        accelerator=accelerator,
        reporter=Reporter(quiet=as_json),
    )
    if built.report is None:  # this process only helped to train; another one reports
        return
    _finish(built.report, as_json, built.folder)


def _run_until(
    stop: Stop,
    recipe: Path,
    out: Path | None,
    overrides: list[str] | None,
    data_root: Path | None,
    devices: int,
    num_nodes: int,
    accelerator: str,
    as_json: bool,
) -> None:
    from .progress import Reporter
    from .run import build as run

    built = run(
        recipe,
        out=out,
        overrides=overrides or (),
        data_root=data_root,
        until=stop,
        devices=devices,
        num_nodes=num_nodes,
        accelerator=accelerator,
        reporter=Reporter(quiet=as_json),
    )
    if not built.artifacts:  # this process only helped to train; another one reports
        return
    if as_json:
        print(json.dumps({"folder": str(built.folder), "artifacts": list(built.artifacts)}))
    else:
        print("\n".join(str(built.folder / name) for name in built.artifacts))


def _stage_command(stop: Stop, words: str) -> None:
    def command(
        recipe: RecipeFile,
        out: Out = None,
        overrides: Overrides = None,
        data_root: DataRoot = None,
        devices: Devices = 1,
        num_nodes: NumNodes = 1,
        accelerator: Accelerator = "auto",
        as_json: AsJson = False,
    ) -> None:
        _run_until(stop, recipe, out, overrides, data_root, devices, num_nodes, accelerator, as_json)

    app.command(stop, help=words, rich_help_panel="Stages")(command)


_stage_command("teacher", "Make the teacher: train it, or load its checkpoint.")
_stage_command("distill", "Make the student, and what it needs.")
_stage_command("prune", "Remove channels of the student and fine-tune it, and what it needs.")
_stage_command("export", "Export the student as float ONNX, and what it needs.")
_stage_command("quantize", "Quantize the ONNX file for every target, and what it needs.")
_stage_command("compile", "Build every target's engine, and what it needs.")


@app.command()
def verify(
    model: Annotated[Path, typer.Argument(help="The model to attack: an ONNX file, from any exporter.")],
    dataset: Annotated[
        str, typer.Option(help="The data set whose test split is attacked: a name, or package.module:function.")
    ],
    eps: Annotated[str, typer.Option(help="Radius of the ball: a number, or a fraction such as 8/255.")],
    norm: Annotated[str, typer.Option(help="Linf or L2.")] = "Linf",
    samples: Annotated[int | None, typer.Option(min=1, help="How many test images (default: all).")] = None,
    data_root: DataRoot = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Resize the images (gtsrb, eurosat, imagefolder).")
    ] = None,
    surrogate: Annotated[
        Path | None, typer.Option(help="Another ONNX model of the task, whose gradients and examples help.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the proof (default: runs/verify-<model>).")] = None,
    target: Annotated[str, typer.Option(help="The runtime that runs the model.")] = "onnxruntime",
    gate: Annotated[
        list[str] | None, typer.Option(help="A condition such as 'robust_accuracy >= 0.5'; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample draw and of the attacks.")] = 0,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Prove the robustness of a model that somebody else exported, by attacking it."""
    from .progress import Reporter
    from .verification import verify as run

    folder = out or Path("runs") / f"verify-{model.stem}"
    report = run(
        model,
        dataset=dataset,
        eps=eps,
        norm=norm,
        samples=samples,
        data_root=data_root,
        image_size=image_size,
        surrogate=surrogate,
        out=folder,
        target=target,
        gates=gate or (),
        seed=seed,
        workers=workers,
        reporter=Reporter(quiet=as_json),
    )
    _finish(report, as_json, folder)


@app.command()
def teachers(
    candidates: Annotated[
        list[str],
        typer.Argument(
            help="Checkpoints, MODEL=FILE for those that do not name their model, package.module:function, "
            "or robustbench/<Name>."
        ),
    ],
    dataset: Annotated[
        str, typer.Option(help="The data set whose validation and training images are asked; never its test images.")
    ],
    eps: Annotated[str, typer.Option(help="Radius of the ball: a number, or a fraction such as 8/255.")],
    norm: Annotated[str, typer.Option(help="Linf or L2.")] = "Linf",
    samples: Annotated[int, typer.Option(help="How many images, half of them validation images.")] = 512,
    steps: Annotated[int, typer.Option(help="PGD steps.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the sample draw and of the attack.")] = 0,
    model: Annotated[str | None, typer.Option(help="The model of checkpoints that do not name theirs.")] = None,
    data_root: DataRoot = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Resize the images (gtsrb, eurosat, imagefolder).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Screen teachers on a data sample: clean accuracy, PGD accuracy, and entropy on hard images."""
    from .progress import Reporter
    from .teachers import rank_teachers, show_teachers

    result = rank_teachers(
        candidates,
        dataset=dataset,
        eps=eps,
        norm=norm,
        samples=samples,
        steps=steps,
        seed=seed,
        model=model,
        data_root=data_root,
        image_size=image_size,
        reporter=Reporter(quiet=as_json),
    )
    if as_json:
        print(json.dumps(result))
    else:
        show_teachers(result, _console())


@app.command()
def gate(
    report: Annotated[Path, typer.Argument(help="A report.json, or the folder that holds one.")],
    require: Annotated[
        list[str] | None,
        typer.Option(help="A condition such as 'retention >= 0.97'; repeatable. Default: the recipe's gates."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge gates on a finished report; exit 1 when one fails."""
    from .gate import Condition
    from .report import Report, regate

    found = Report.load(_report_file(report))
    lines = require or [f"{entry['name']} {entry['limit']}" for entry in found.data["gates"]]
    if not lines:
        raise UsageError(f"{report}: has no gates; give some with --require")
    _finish(regate(found, [Condition.parse_line(line) for line in lines]), as_json, None)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its report.json.")], as_json: AsJson = False
) -> None:
    """Print the report of a finished run."""
    from .report import Report

    _finish(Report.load(_report_file(run)), as_json, None)


@app.command()
def bench(
    engine: Annotated[Path, typer.Argument(help="The engine or ONNX file to time.")],
    target: Annotated[str, typer.Option(help="The runtime that runs it.")] = "onnxruntime",
    against: Annotated[Path | None, typer.Option(help="Another engine, timed in turn; the ratio is printed.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="A batch size; repeatable.")] = None,
    repeats: Annotated[int, typer.Option(min=10, help="Timed calls.")] = 300,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure latency percentiles after warm-up, on seeded random images."""
    from .benching import bench_file, show_bench

    result = bench_file(
        engine, target, against=against, batches=tuple(batch or (1, 32)), repeats=repeats, threads=threads
    )
    if as_json:
        print(json.dumps(result))
    else:
        show_bench(result, _console())


@app.command(rich_help_panel="Stages")
def recover(
    source: Annotated[
        Path, typer.Argument(help="A recipe with a `recover` section, or an ONNX file.", metavar="RECIPE|MODEL")
    ],
    teacher: Annotated[
        str | None,
        typer.Option(help="Of an ONNX file: a float ONNX file, a checkpoint, MODEL=FILE, package.module:function."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Of an ONNX file: what it learns from.")] = None,
    eps: Annotated[str | None, typer.Option(help="Of an ONNX file: radius of the ball, such as 8/255.")] = None,
    norm: Annotated[str, typer.Option(help="Of an ONNX file: Linf or L2.")] = "Linf",
    target: Annotated[str, typer.Option(help="Whose scheme a float ONNX file is quantized in.")] = "onnxruntime",
    image_size: Annotated[int | None, typer.Option(min=1, help="Of an ONNX file: resize the images.")] = None,
    out: Out = None,
    overrides: Overrides = None,
    data_root: DataRoot = None,
    devices: Devices = 1,
    num_nodes: NumNodes = 1,
    accelerator: Accelerator = "auto",
    as_json: AsJson = False,
) -> None:
    """Learn back, in the quantized ONNX file itself, the robustness that quantization cost."""
    if source.suffix != ".onnx":
        if teacher or dataset or eps:
            raise UsageError("--teacher, --dataset and --eps are for an ONNX file; a recipe has its own")
        _run_until("recover", source, out, overrides, data_root, devices, num_nodes, accelerator, as_json)
        return
    from .progress import Reporter
    from .recovery import recover_file, show_recovery

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
        reporter=Reporter(quiet=as_json),
    )
    if as_json:
        print(json.dumps(result))
    else:
        show_recovery(result, _console())


@app.command()
def lint(
    model: Annotated[Path, typer.Argument(help="The ONNX file to check, from any exporter or quantizer.")],
    target: Annotated[str, typer.Option(help="The runtime that is to run it.")] = "onnxruntime",
    as_json: AsJson = False,
) -> None:
    """Check an ONNX file against what a target wants of its Q/DQ pairs; exit 1 when something is refused or misread."""
    from .linting import lint_file, show_lint

    result = lint_file(model, target)
    if as_json:
        print(json.dumps(result))
    else:
        show_lint(result, _console())
    raise typer.Exit(result["exit_code"])


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where the recipe goes.")] = Path("recipe.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented recipe to start from."""
    from .starter import write_recipe

    write_recipe(path, force=force)
    print(f"{path}: written; run it with: edgeproof build {path}")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what the machine offers, and which targets are available."""
    from .doctor import examine, show_doctor

    found = examine()
    if as_json:
        print(json.dumps(found))
    else:
        show_doctor(found, _console())


@app.command("targets")
def list_targets(as_json: AsJson = False) -> None:
    """List the targets: available or why not, and their versions."""
    from .doctor import show_targets, target_states

    states = target_states()
    if as_json:
        print(json.dumps(states))
    else:
        show_targets(states, _console())


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors that complete them."""
    from .recipe import schema as recipe_schema

    print(json.dumps(recipe_schema(), indent=1))


def _report_file(path: Path) -> Path:
    return path / "report.json" if path.is_dir() else path


def _finish(found: Report, as_json: bool, folder: Path | None) -> None:
    """Print a report and exit with its verdict's code."""
    if as_json:
        print(json.dumps(found.data))
    else:
        from .terminal import show

        show(found, _console())
        if folder is not None:
            print(f"report: {folder / 'report.json'}")
    raise typer.Exit(found.exit_code)


def _console() -> Any:
    from rich.console import Console

    return Console()
