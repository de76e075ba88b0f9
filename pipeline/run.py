"""`build`: from a recipe to attacked engines and a report, never doing a finished stage twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from .code import all_sources_digest
from .progress import Reporter
from .report import Report
from .reports import render
from .store import Store, finished_files

if TYPE_CHECKING:
    from .recipe import Recipe
    from .stages import Stages

Stop = Literal["teacher", "distill", "export", "quantize", "compile", "verify"]
STOPS: tuple[Stop, ...] = get_args(Stop)

# Their versions decide what every stage does; a finished run is only current under the same ones.
PACKAGES = (
    "edgeproof",
    "torch",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "pyautoattack",
    "scikit-learn",
    "numpy",
)


@dataclass(frozen=True)
class Built:
    """What `build` returns.

    Attributes:
        folder: the run's folder.
        report: the report; None where the build was stopped before verification.
        artifacts: file names in the folder.
        fresh: False where everything was there already.
    """

    folder: Path
    report: Report | None
    artifacts: tuple[str, ...] = field(default=())
    fresh: bool = True

    @property
    def exit_code(self) -> int:
        """The exit code of the command line: the verdict's, or 0 for a build that was stopped early."""
        return 0 if self.report is None else self.report.exit_code


def build(
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    until: Stop | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Built:
    """Run a recipe: teacher, distil, export, quantize, compile, verify, bench, gate, report.

    Args:
        recipe: the recipe file.
        out: the run's folder; `runs/<name>` when left out.
        overrides: `section.key=value` replacements of recipe keys.
        until: stop after this stage.
        workers: processes that attack; one a core when left out.
        reporter: where progress goes.

    Raises:
        UsageError: the recipe or the folder is wrong (exit code 2).
        StageError: a stage failed (exit code 3).
    """
    from .read import read_recipe

    reporter = reporter or Reporter(quiet=True)
    path = Path(recipe)
    raw = read_recipe(path, overrides)
    request = _request(raw)
    folder = Path(out) if out is not None else Path("runs") / str(raw.get("name"))
    if finished := _finished(folder, request, until):
        return finished

    # Only now: importing torch alone takes seconds, and a finished run needs none of it.
    from .recipe import parse_recipe
    from .stages import Stages

    parsed = parse_recipe(raw, str(path))
    store = Store(folder, reporter.notice)
    with store.locked():
        stages = Stages(parsed, store, reporter, workers)
        return _run(parsed, stages, store, request, until)


def _run(recipe: Recipe, stages: Stages, store: Store, request: str, until: Stop | None) -> Built:
    from .assemble import assemble
    from .recipe import dump

    each_target = stages.available
    steps: dict[Stop, Callable[[], object]] = {
        "teacher": stages.teacher,
        "distill": stages.student,
        "export": stages.exported,
        "quantize": lambda: [stages.quantized(target) for target in each_target],
        "compile": lambda: [stages.engine(target) for target in each_target],
        "verify": lambda: [stages.settled(), *(stages.benched(target) for target in each_target)],
    }
    last = until or STOPS[-1]
    _ = stages.samples
    for step in STOPS[: STOPS.index(last) + 1]:
        steps[step]()
    texts = {"recipe.yaml": dump(recipe)}
    report = None
    if last == STOPS[-1]:
        report = assemble(stages)
        texts |= render(report)
    view = stages.view()
    # A run is finished only when it is whole; a missing target may be there the next time.
    whole = report is not None and not stages.missing
    store.publish(view, texts, request=request if whole else "", external=stages.external())
    return Built(store.root, report, (*view, *texts))


def _finished(folder: Path, request: str, until: Stop | None) -> Built | None:
    """Return the finished run that answers this request, if the folder holds one, without importing torch."""
    artifacts = finished_files(folder, request)
    if artifacts is None:
        return None
    report = Report.load(folder / "report.json") if until is None else None
    return Built(folder, report, artifacts, fresh=False)


def _request(raw: dict[str, Any]) -> str:
    """Digest of what is asked for: the recipe as given, our code, and the packages that do the work."""
    asked = {
        "recipe": raw,
        "code": all_sources_digest(),
        "packages": {package: version(package) for package in PACKAGES},
    }
    text = json.dumps(asked, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
