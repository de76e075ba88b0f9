"""What reads each kind of file, in this process: through the product's own doors, and on to what it is used for."""

from __future__ import annotations

import io
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeproof.core.errors import EdgeproofError
from edgeproof.core.onnx_reader import read_onnx
from edgeproof.pipeline.bundle.device.bring_back import bring_back
from edgeproof.pipeline.bundle.device.report import read_device_report
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.bundle.verify_bundle import verify_bundle
from edgeproof.pipeline.card.budget import attack_budgets
from edgeproof.pipeline.card.make_card import model_card
from edgeproof.pipeline.cli.terminal import show
from edgeproof.pipeline.commands.gate import gate
from edgeproof.pipeline.commands.lint import lint_file
from edgeproof.pipeline.gates.baseline import Baseline
from edgeproof.pipeline.recipe.read import read_recipe
from edgeproof.pipeline.recipe.recipe import parse_recipe
from edgeproof.pipeline.reports import formats
from edgeproof.pipeline.reports.github import workflow_commands
from edgeproof.pipeline.results.report import Report
from edgeproof.pipeline.store.folder_guard import check_own
from edgeproof.pipeline.store.manifest import finished_files
from edgeproof.pipeline.terminal import Terminal
from edgeproof.stages.adversarial_pack import read_pack
from edgeproof.stages.prune.record import read_pruning
from edgeproof.stages.twin import NoTwin, load_twin
from edgeproof.targets.signature import read_signature

SECONDS = 10
_WAITING = 6


class Hung(BaseException):
    """Something took longer than it may."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `Hung` in this thread after so many seconds of CPU, or where it waits for several times as long."""

    def stop(*_: object) -> None:
        raise Hung

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, _WAITING * seconds)}
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def ends(read: Callable[[], object]) -> bool:
    """Whether something was read, and not refused in one line; whatever else it raises is raised here."""
    try:
        with within(SECONDS):
            read()
    except EdgeproofError as error:
        _told(error)
        return False
    return True


def _told(error: EdgeproofError) -> None:
    if not str(error).strip():
        raise ValueError("an error without a word")


def recipe(path: Path) -> None:
    """Read and validate a recipe."""
    parse_recipe(read_recipe(path), str(path))


def onnx_file(path: Path) -> None:
    """Lint an ONNX file, and read it as `verify` does before it runs it."""
    for read in (lambda: lint_file(path), lambda: read_onnx(path, checked=True)):
        try:
            read()
        except EdgeproofError as error:
            _told(error)
    read_signature(path)
    try:
        load_twin(path)
    except NoTwin:
        return


def json_file(run: Path, name: str, *, page: bool) -> None:
    """Use a finished run one of whose JSON files, at `name`, is to be read; `page` is whether its page is drawn."""
    tried = list[Callable[[], object]]()
    if name == "report.json":
        report = run / name
        tried = [lambda: _shown(Report.load(report), page=page), lambda: gate(run, require=["clean_accuracy >= 0.1"])]
        tried += [lambda: model_card(run), lambda: make_bundle(run, plain=True, out=run / "made.tar")]
    elif name == "manifest.json":
        tried = [lambda: finished_files(run, "r"), lambda: check_own(run, build=True)]
        tried += [lambda: make_bundle(run, plain=True, out=run / "made.tar")]
        tried += [lambda: _shown(Report.load(run / "report.json"), page=page)]
    elif name == "adversarial/manifest.json":
        tried = [lambda: read_pack(run / "adversarial" / "onnxruntime.npz"), lambda: attack_budgets(run)]
        tried += [lambda: model_card(run), lambda: gate(run, require=["clean_accuracy >= 0.1"])]
    elif name == "baseline.json":
        tried = [lambda: _against(run, run / name)]
    elif name == "device-report.json":
        tried = [lambda: read_device_report(run / name), lambda: bring_back(run, run / name)]
    elif name == "pruning.json":
        tried = [lambda: read_pruning(run / name)]
    elif name == "bundle/bundle.json":
        tried = [lambda: verify_bundle(run / "bundle")]
    else:
        tried = [lambda: _shown(Report.load(run / "report.json"), page=page)]
        tried += [lambda: make_bundle(run, plain=True, out=run / "made.tar")]
    refused: EdgeproofError | None = None
    for read in tried:
        try:
            read()
        except EdgeproofError as error:
            _told(error)
            refused = error
    if refused is not None:
        raise refused


def _shown(report: Report, *, page: bool) -> None:
    show(report, Terminal(file=io.StringIO(), width=100))
    workflow_commands(report)
    for name in formats.names():
        if page or name != "report.html":
            formats[name](report)


def _against(run: Path, path: Path) -> None:
    Baseline.load(path)
    gate(run, require=["robust_accuracy >= baseline - 0.03", "clean_accuracy >= baseline"], baseline=path)


def archive(path: Path, outside: Path) -> None:
    """Verify a bundle; nothing may appear in the folder `outside` around it."""
    before = sorted(each for each in outside.rglob("*"))
    try:
        verify_bundle(path)
    finally:
        assert sorted(each for each in outside.rglob("*")) == before, "written outside"


def copied(run: Path, to: Path) -> Path:
    """A copy of a run, in place of an earlier one, of which stays what nobody has written since."""
    sources = {source.relative_to(run): source for source in sorted(run.rglob("*"))}
    for path in sorted(to.rglob("*"), reverse=True):
        if path.relative_to(to) not in sources:
            path.rmdir() if path.is_dir() else path.unlink()
    for name, source in {Path(): run, **sources}.items():
        if source.is_dir():
            (to / name).mkdir(exist_ok=True)
        elif not (to / name).exists() or _written(source) != _written(to / name):
            shutil.copy2(source, to / name)
    return to


def _written(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_mtime_ns, about.st_size
