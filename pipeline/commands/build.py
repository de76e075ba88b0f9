"""Build: from a recipe to attacked engines and a report, never doing a finished stage twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from ...core.errors import UsageError
from ...core.user_modules import modules_beside_recipe
from ...core.versions import installed_versions, version_in_place_of
from ..progress import Reporter
from ..reports import render
from ..reports.result import Result
from ..results.report import Report
from ..store.code_digest import all_sources_digest
from ..store.folder_guard import RECIPE, check_own
from ..store.follower import FollowingStore, follows
from ..store.manifest import finished_files
from ..store.run_files import RunFiles
from ..store.store import Store
from ..store.user_code import functions_digest

if TYPE_CHECKING:
    from pydantic import Field

    from ..recipe.recipe import Recipe
    from ..run import RecipeRun

Stop = Literal["teacher", "distill", "prune", "export", "quantize", "recover", "compile", "verify"]
STOPS: tuple[Stop, ...] = get_args(Stop)

# Their versions decide what every stage does; a finished run is only current under the same ones.
PACKAGES = (
    "edgeproof",
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "pyautoattack",
    "scikit-learn",
    "numpy",
)
EXTRAS = ("timm", "robustbench", "torch-pruning")


@dataclass(frozen=True, repr=False)
class Built(Result):
    """What `build` returns.

    Attributes:
        artifacts: file names in the folder.
        fresh: False where everything was there already.
    """

    artifacts: tuple[str, ...] = field(default=())
    fresh: bool = True


@modules_beside_recipe
def build(
    recipe: Path | str,
    *,
    out: Path | str | None = None,
    overrides: Sequence[str] = (),
    data_root: Path | str | None = None,
    store: Path | str | None = None,
    until: Stop | None = None,
    workers: Annotated[int, Field(ge=1)] | None = None,
    devices: Annotated[int, Field(ge=1)] = 1,
    num_nodes: Annotated[int, Field(ge=1)] = 1,
    accelerator: str = "auto",
    reporter: Reporter | None = None,
) -> Built:
    """Run a recipe: teacher, distil, export, quantize, compile, verify, bench, gate, report.

    Args:
        recipe: the recipe, a YAML file.
        out: folder of the run (default: `runs/<name>`).
        overrides: override a recipe key: `--set distill.epochs=10`.
        data_root: folder of local copies of data sets (default: the recipe's `data.root`, then $EDGEPROOF_DATA, then
            ~/.cache/edgeproof/data).
        store: folder of finished stages that runs share (default: $EDGEPROOF_STORE, then `.store` in `out`).
        until: stop after this stage.
        workers: processes that attack (default: one a core).
        devices: processes that train on this machine, one a device; beyond one, a script that builds is started again
            for each.
        num_nodes: machines that train; each runs the same command.
        accelerator: what they train on: `auto`, `cpu`, `cuda`.
        reporter: where progress goes.

    Raises:
        UsageError: the recipe or the folder is wrong (exit code 2).
        StageError: a stage failed (exit code 3).
    """
    from ..recipe.read import read_recipe

    reporter = reporter or Reporter(quiet=True)
    path = Path(recipe)
    raw = read_recipe(path, overrides, data_root)
    request = _request(raw)
    folder = Path(out) if out is not None else Path("runs") / str(raw.get("name"))
    if finished := _finished(folder, request, until):
        return finished

    check_own(folder, build=True)
    # Only now: importing torch alone takes seconds, and a finished run needs none of it.
    from ...stages.distill import TrainingContext
    from ..recipe.recipe import parse_recipe
    from ..run import RecipeRun

    parsed = parse_recipe(raw, str(path))
    for section, example in (("prune", "{ratio: 0.3}"), ("recover", "{epochs: 10}")):
        if until == section and getattr(parsed, section) is None:
            raise UsageError(f"{path}: has no section `{section}`; `{section}: {example}` is one")
    running = TrainingContext(accelerator=accelerator, devices=devices, num_nodes=num_nodes)
    shared = None if store is None else Path(store)
    if follows():
        theirs = FollowingStore(folder, shared=shared)
        _help(parsed, RecipeRun(parsed, theirs, Reporter(quiet=True), workers, running), until)
        return Built(folder, None)
    ours = Store(folder, reporter.notice, shared)
    with ours.locked():
        stages = RecipeRun(parsed, ours, reporter, workers, running)
        return _run(parsed, stages, ours, request, until)


def _help(recipe: Recipe, stages: RecipeRun, until: Stop | None) -> None:
    """Take part in the trainings that another process leads."""
    if until == "teacher":
        stages.networks.teacher()
        return
    stages.networks.student()
    if STOPS.index(until or STOPS[-1]) >= STOPS.index("prune"):
        stages.networks.pruned()
    if recipe.recover is not None and STOPS.index(until or STOPS[-1]) >= STOPS.index("recover"):
        for target in stages.engines.built:
            stages.engines.shipped(target)


def _run(recipe: Recipe, stages: RecipeRun, store: Store, request: str, until: Stop | None) -> Built:
    from ..recipe.recipe import dump
    from ..run.report_of_run import assemble

    each_target = stages.engines.built
    steps: dict[Stop, Callable[[], object]] = {
        "teacher": stages.networks.teacher,
        "distill": stages.networks.student,
        "prune": stages.networks.pruned,
        "export": stages.engines.exported,
        "quantize": lambda: [stages.engines.quantized(target) for target in each_target],
        "recover": lambda: [stages.engines.shipped(target) for target in each_target],
        "compile": lambda: [stages.engines.engine(target) for target in each_target],
        "verify": lambda: [stages.attacks.aggregated(), *stages.benches.all()],
    }
    last = until or STOPS[-1]
    stages.check()
    store.begin(request)
    for step in STOPS[: STOPS.index(last) + 1]:
        steps[step]()
    texts = {RECIPE: dump(recipe, store.root)}
    report = assemble(stages) if last == STOPS[-1] else None
    view = stages.artifacts.view()
    if report is not None:
        report = replace(report, files=RunFiles(view=view, texts=texts))
        texts = texts | render(report, store)
    # A run is finished only when it is whole; a missing target may be there the next time, and what a function reads
    # its weights from may change unseen.
    pretrained = any(teacher is not None and teacher.pretrained for teacher in (recipe.teacher, recipe.natural_teacher))
    whole = report is not None and not stages.engines.missing and not pretrained
    store.publish(view, texts, request=request if whole else "", external=stages.artifacts.external())
    return Built(store.root, report, (*view, *texts))


def _finished(folder: Path, request: str, until: Stop | None) -> Built | None:
    """Return the finished run that answers this request, if the folder holds one, without importing torch."""
    artifacts = finished_files(folder, request)
    if artifacts is None:
        return None
    report = Report.load(folder / "report.json") if until is None else None
    return Built(folder, report, artifacts, fresh=False)


def _request(raw: dict[str, Any]) -> str:
    """Digest of what is asked for: the recipe as given, the code, and the packages that do the work."""
    asked = {
        "recipe": raw,
        "data": os.environ.get("EDGEPROOF_DATA"),  # where data sets lie, unless the recipe says it
        "code": all_sources_digest(),
        "functions": functions_digest(raw),
        "packages": {package: version_in_place_of(package) for package in PACKAGES} | installed_versions(EXTRAS),
    }
    text = json.dumps(asked, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
