"""Verification of a model that somebody else exported, by the same code as a build (`edgeproof verify`)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ...core.errors import EdgeproofError, UsageError
from ...core.function import is_function
from ...core.model_file import engine_files, sha256_of
from ...core.reading.published_paths import published_path
from ...core.user_modules import modules_beside_recipe
from ...core.writing.scratch import scratch_folder, without_scratch
from ...stages.adapt import AdapterConfig
from ...stages.data import Dataset
from ...stages.data.in_memory import dataset_in_memory
from ...stages.verify import (
    CorruptionsConfig,
    EngineSubject,
    Evaluation,
    Subject,
    VerifyConfig,
    Workforce,
    default_workers,
)
from ...stages.verify.callers_state import callers_state
from ...stages.verify.checks.base import Finding
from ...stages.verify.figures import FIGURES_FILE, read_figures
from ...stages.verify.routes.base import routes
from ...stages.verify.shards.machines import Machines
from ...stages.verify.shards.sequential import ACCURACIES
from ..figures.table import figure_named
from ..gates import Condition
from ..progress import Reporter
from ..reports import render
from ..reports.result import Result
from ..request.adapted_models import MODEL, surrogate_options
from ..request.arguments import option
from ..request.clean_answers import look_at_clean_answers, of_surrogate
from ..request.model_in_memory import as_given
from ..request.verification import SURROGATE, Request, check_request, opening
from ..request.verification_settings import Settings
from ..results.report import Report, draw_up, engine_subject
from ..run.maker import Maker
from ..run.proof import Proof
from ..store.artifact import Artifact, Stage
from ..store.folder_guard import About, check_alike, check_own, proof_in
from ..store.follower import FollowingStore
from ..store.run_files import RunFiles
from ..store.store import Store

if TYPE_CHECKING:
    import onnx
    import onnxruntime
    from torch import nn

# The rooms of adapted models, and of one that was handed over in memory, in the store and in the proof's folder.
_ADAPTED, _GIVEN = "adapted", "given"
_ADAPTER_CODE, _CLEAN_CODE = "edgeproof.stages.adapt.adapt", "edgeproof.pipeline.request.clean_answers"


@callers_state()
@modules_beside_recipe
def verify(
    model: str | Path | nn.Module | onnx.ModelProto | onnxruntime.InferenceSession | Callable[[Any], Any],
    images: Any = None,
    labels: Any = None,
    *,
    dataset: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    eps: str | float | None = None,
    norm: str | None = None,
    samples: Annotated[int, Field(ge=1)] | None = None,
    data_root: Path | str | None = None,
    store: Path | str | None = None,
    image_size: str | int | tuple[int, int] | None = None,
    grey: bool = False,
    recipe: Path | str | None = None,
    overrides: Sequence[str] = (),
    graph: Path | str | None = None,
    surrogate: Path | str | None = None,
    packs: Sequence[Path | str] = (),
    out: Path | str | None = None,
    force: bool = False,
    target: str = "onnxruntime",
    options: Sequence[str] = (),
    adapter: AdapterConfig | Mapping[str, Any] | None = None,
    surrogate_adapter: AdapterConfig | Mapping[str, Any] | None = None,
    gates: Sequence[str] = (),
    sequential: bool = False,
    seed: Annotated[int, Field(ge=0)] | None = None,
    corruptions: bool | CorruptionsConfig = False,
    curve: bool = True,
    workers: Annotated[int, Field(ge=1)] | None = None,
    num_nodes: Annotated[int, Field(ge=1)] = 1,
    reporter: Reporter | None = None,
) -> Result:
    """Attack a model and write its report, per-sample bits and adversarial pack into `out`.

    In Python the model may be an object. Its class and, in place of `out`, the folder `runs/verify-<model>-<digest>`
    name it, so that every other model or setting has a folder of its own, and the same call goes on after a kill.

    - A torch module is attacked as it is, by its own gradients: a copy of it in eval mode, on its own device. The
      module keeps its mode, weights, statistics and gradients. Workers get copies, of classes of a notebook too; a
      module that cannot be pickled, or is on a GPU, is attacked in this process alone.
    - An ONNX model, or an ONNX Runtime session on the CPU, is attacked as its file is. Of a session the file or the
      bytes that it was made of are taken; other providers, and a session that does not tell them, are refused.
    - A function, or a model by MAITE's protocol, runs in this process: it has no gradients of its own, and nothing
      guards against its crash. It takes float32 images `[N, C, H, W]` and answers logits `[N, K]` or labels `[N]`.

    Args:
        model: the model to attack: an ONNX file from any exporter or another engine, pixels in [0, 1] in, logits out;
            or `package.module:function`, float32 images `[N, C, H, W]` to logits `[N, K]` or labels `[N]`.
        images: the test images, `[N, C, H, W]`, `[N, H, W, C]` or `[N, H, W]`, uint8 or floats in [0, 1]: arrays or
            tensors; or, without labels, a DataLoader or a Dataset of pairs, of torch or of MAITE.
        labels: the classes of the images, whole numbers `[N]` or one-hot `[N, K]`.
        dataset: the data set whose test split is attacked: a name, a folder of images, an .npz file, or
            `package.module:function`. Needed without a recipe.
        class_names: the names of all classes of the images, where these are in memory.
        eps: radius of the ball, a number or a fraction such as `8/255`. Needed without a recipe.
        norm: `Linf` or `L2` (default: the recipe's, or `Linf`).
        samples: how many test images (default: the recipe's, or all).
        data_root: folder of local copies of data sets (default: the recipe's `data.root`, then $EDGEPROOF_DATA, then
            ~/.cache/edgeproof/data).
        store: folder of finished stages that runs share (default: $EDGEPROOF_STORE, then `.store` in `out`).
        image_size: resize image files to this side, or to HEIGHTxWIDTH such as 48x64.
        grey: read image files as grey, for a model of one channel.
        recipe: a recipe whose `data`, `threat`, `verify`, `adapter` and `surrogate_adapter` sections hold where no
            option says otherwise.
        overrides: a key of the recipe's section `verify`, whether there is a recipe or not:
            `--set verify.square_queries=500`.
        graph: the ONNX file that the model was built from, where it is an engine of another format.
        surrogate: another ONNX model of the same task; its adversarial examples are replayed, and its
            gradients are a further white-box attack.
        packs: a pack of an earlier run, its `adversarial/NAME.npz`; its examples are replayed.
        out: folder of the proof (default: `runs/verify-<model>`).
        force: replace the finished proof of another model or data set there.
        target: the runtime that runs the model.
        options: an option of the target, such as `hint=throughput`.
        adapter: what stands between pixels in [0, 1] and the model, and between its answers and logits, where that
            cannot be found from the file.
        surrogate_adapter: the same of the surrogate.
        gates: a condition such as `robust_accuracy >= 0.5`.
        sequential: attack in random order, and only until every gate on an accuracy is decided, at 5 % error; the
            intervals are then a confidence sequence for the whole test split. A surrogate's own examples are not
            replayed.
        seed: seed of the sample draw and of the attacks (default: the recipe's, or 0).
        corruptions: also the accuracy under common corruptions (noise, blur, JPEG, …).
        curve: also the accuracy at other radii; a sequential run does without.
        workers: processes that attack (default: one a core).
        num_nodes: machines that share the attacks; each runs the same command and sees the folder.
        reporter: where progress goes.

    Raises:
        UsageError: an argument or the file is wrong, or `out` holds another model's proof (exit code 2).
        BackendMissing: the target's runtime, or what attacks labels, is not installed (exit code 4).
    """
    reporter = reporter or Reporter(quiet=True)
    conditions = conditions_of(gates, out)
    settings = Settings.read(
        overrides,
        recipe,
        {"dataset": dataset, "root": data_root, "image_size": image_size, "grey": grey or None},
        {"norm": norm, "eps": eps},
        {"samples": samples, "seed": seed, "packs": packs or None, "corruptions": corruptions, "curve": curve},
        images=_held(images, labels, class_names),
        adapter=adapter,
        surrogate_adapter=surrogate_adapter,
    )
    config = config_of(settings.verify, conditions, sequential=sequential, num_nodes=num_nodes)
    if out is not None:
        check_own(Path(out), build=False)
    with scratch_folder() as held:
        given = as_given(model, held)
        written = isinstance(given, str) and Path(given).parent == held
        if out is None and isinstance(given, str) and not written:
            out = folder_of(given, None)
            check_own(out, build=False)
        with scratch_folder() as scratch, _called(written):
            request = check_request(
                given,
                settings.data,
                settings.threat,
                config,
                target,
                scratch=scratch,
                options=options,
                graph=graph,
                surrogate=surrogate,
                adapter=settings.adapter,
                surrogate_adapter=settings.surrogate_adapter,
                deciding=tuple(conditions) if sequential else None,
            )
        if out is None:
            out = Path("runs") / f"verify-{name_of(request.model)}-{request.digest()[:8]}"
        if not force:
            check_same_subject(Path(out), request)
        _tell(request, settings, reporter, num_nodes)
        machines = Machines.launched(num_nodes)
        place = (Store if machines.leads else FollowingStore)(
            Path(out), reporter.notice, None if store is None else Path(store)
        )
        evaluation = Evaluation(request.samples, request.threat, request.config, request.stop, request.earlier)
        workforce = Workforce(_workers(request, workers, num_nodes), machines=machines)
        proof = Proof(Maker(place, reporter), request.dataset, evaluation, workforce)
        report = _proven(proof, request, settings, conditions, surrogate, held if written else None)
    return Result(Path(out), report)


def _proven(
    proof: Proof,
    request: Request,
    settings: Settings,
    conditions: Sequence[Condition],
    surrogate: str | Path | None,
    held: Path | None,
) -> Report:
    """Attack, and publish what was found; `held` is the scratch folder of a model that was handed over in memory."""
    place = proof.maker.store
    with place.locked():
        kept = {*request.adapted, *([] if held is None else [request.target])}
        request = request.on({name: _kept(proof.maker, request, name) for name in sorted(kept)})
        place.begin(request.digest())
        findings = examined(proof, request, settings, surrogate)
        attacks: dict[str, Artifact] = {}
        for name, subject in request.subjects.items():
            before = list(attacks.values())
            attacks[name] = proof.attacked(subject, before=before, inputs=request.answers(name))
        found = proof.aggregated(request.subjects, attacks, curve_of=[request.target])
        report = _report(request, conditions, findings, found, surrogate, written=held is not None)
        made = [stage for name, stage in proof.maker.made.items() if name.startswith((f"{_ADAPTED}/", f"{_GIVEN}/"))]
        view = {name: (found, name) for name in found.files}
        view |= {f"{stage.stage}/{name}": (stage, name) for stage in made for name in stage.files}
        read = [file for file in request.files if held is None or not file.is_relative_to(held.resolve())]
        place.publish(
            view,
            render(replace(report, files=RunFiles(view=view)), place),
            request=request.digest(),
            external={str(file): sha256_of(file) for file in read},
        )
    return report


def config_of(
    config: VerifyConfig, conditions: Sequence[Condition], *, sequential: bool, num_nodes: int
) -> VerifyConfig:
    """How hard to try, which must measure what the gates ask for and, in a sequential run, have some to decide."""
    if sequential and not any(condition.figure in ACCURACIES for condition in conditions):
        raise UsageError(f"--sequential: needs a gate to decide, on one of: {', '.join(ACCURACIES)}")
    if sequential and num_nodes > 1:
        raise UsageError("--sequential: on one machine; several would attack samples that are not needed")
    if sequential and config.corruptions is not None:
        raise UsageError("--corruptions: not with --sequential, whose sample ends as soon as the gates are decided")
    for condition in conditions:
        needed = figure_named(condition.figure).measured_by
        if needed is not None and getattr(config, needed, None) is None:
            raise UsageError(f"--gate: {condition.figure} is measured with --{needed}")
    return config.model_copy(update={"curve": None}) if sequential else config


def _tell(request: Request, settings: Settings, reporter: Reporter, num_nodes: int) -> None:
    """What the user should know before it takes long."""
    if settings.all_tests:
        count, source = len(request.dataset.test), request.dataset.sources[0]
        reporter.notice(f"{source}: its {count} images are all test images; a --recipe says where a model was trained")
    for name, adapted in request.adapted.items():
        reporter.notice(f"{name}: {', '.join(adapted.words)}")
    if num_nodes > 1:
        reporter.notice(f"waiting until all {num_nodes} machines run this command (NODE_RANK, MASTER_ADDR)")


def _held(images: Any, labels: Any, class_names: Sequence[str] | None) -> Dataset | None:
    """The images in memory; None without any."""
    if images is not None:
        return dataset_in_memory(images, labels, class_names)
    for name, value in (("labels", labels), ("class_names", class_names)):
        if value is not None:
            raise UsageError(f"{name}: are of images in memory; give images, or leave it out")
    return None


@contextmanager
def _called(written: bool) -> Iterator[None]:
    """What is wrong with an ONNX model in memory is told of `model`, and not of the file that it was written into."""
    try:
        yield
    except EdgeproofError as error:
        if not written:
            raise
        raise type(error)(without_scratch(error, "model")) from None


def _workers(request: Request, workers: int | None, num_nodes: int) -> int:
    """How many processes attack.

    Raises:
        UsageError: more are asked for than may.
    """
    if not request.alone:
        return workers or default_workers()
    if num_nodes > 1 or (workers or 1) > 1:
        name = "num-nodes" if num_nodes > 1 else "workers"
        raise UsageError(f"--{name}: {request.model} is attacked by one process: {request.alone}")
    return 1


def conditions_of(gates: Sequence[str], out: Path | str | None) -> list[Condition]:
    """The gates, none of which may need a baseline."""
    with option("--gate: "):
        conditions = [Condition.parse_line(line, routes.names()) for line in gates]
    for condition in conditions:
        if condition.relative:
            raise UsageError(
                f"--gate: {condition.figure} {condition.text}: is held against a baseline by "
                f"`edgeproof gate {out or 'RUN'} --baseline FILE`"
            )
    return conditions


def _kept(maker: Maker, request: Request, name: str) -> Path:
    """The file of an adapted model, or of one that was handed over in memory, in the store."""
    adapted = request.adapted.get(name)
    stage = Stage(
        f"{_GIVEN if adapted is None else _ADAPTED}/{name}",
        config={} if adapted is None else adapted.identity,
        inputs={"model": request.digests[name]},
        code=[] if adapted is None else [_ADAPTER_CODE],
        packages=("onnx", "numpy"),
    )
    if adapted is None:
        return maker.make(stage, lambda folder, _: shutil.copyfile(request.model, folder / MODEL)).path(MODEL)
    return maker.make(stage, lambda folder, _: adapted.save(folder / MODEL)).path(MODEL)


def examined(proof: Proof, request: Request, settings: Settings, surrogate: str | Path | None) -> list[Finding]:
    """What the answers to clean images speak against the model, and against its surrogate."""

    def of(subject: Subject, name: str, model: str, known: AdapterConfig) -> list[Finding]:
        adapted = request.adapted.get(name)
        with opening(model, request.target):
            return proof.examined(
                subject,
                partial(look_at_clean_answers, subject, request.dataset, model, known, adapted),
                code=[_CLEAN_CODE],
                config={"adapter": known.model_dump(mode="json") if adapted is None else adapted.identity},
                inputs=request.answers(name),
            )

    lending: list[Finding] = []
    if request.lending is not None:
        with option("--surrogate: ", surrogate_options):
            lending = of(request.lending, SURROGATE, str(surrogate), settings.surrogate_adapter)
    own = of(request.subjects[request.target], request.target, request.model, settings.adapter)
    return [*own, *of_surrogate(lending)]


def _report(
    request: Request,
    conditions: Sequence[Condition],
    findings: Sequence[Finding],
    aggregated: Artifact,
    surrogate: str | Path | None,
    *,
    written: bool,
) -> Report:
    """The report; `written` is whether the model was handed over in memory, and lies in the proof's own folder."""
    found = read_figures(aggregated.path(FIGURES_FILE))[request.target]
    path = Path(request.model)
    shown = published_path(path) if path.is_file() else request.model
    if written and request.target not in request.adapted:
        shown = f"{_GIVEN}/{request.target}/{MODEL}"
    subject = engine_subject(
        request.target,
        path=shown,
        sha256=request.digests[request.target],
        precision=request.precision,
        figures=found,
        options=request.options,
        times={} if request.graph is None else {"size_bytes": sum(file.stat().st_size for file in engine_files(path))},
    )
    adapted = request.adapted.get(request.target)
    if adapted is not None:
        # What was attacked, and what a device is to run, is the model with its adapter.
        engine = request.subjects[request.target]
        assert isinstance(engine, EngineSubject)
        given = {"path": shown, "sha256": request.digests[request.target]}
        file = f"{_ADAPTED}/{request.target}/{MODEL}"
        behind = {"path": file, "sha256": engine.engine.sha256, "given": given, "adapter": list(adapted.words)}
        subject = {**subject, **behind}
    if surrogate is not None:
        around = request.adapted.get(SURROGATE)
        lent = {"path": published_path(surrogate), "sha256": request.digests[SURROGATE]}
        subject = {**subject, "surrogate": {**lent, **({"adapter": list(around.words)} if around else {})}}
    return draw_up(
        name=f"verify-{name_of(request.model)}",
        recipe_digest=f"sha256:{request.digest()}",
        threat=request.threat.model_dump(),
        subjects=[
            {
                **subject,
                "warnings": [*request.warnings, *map(str, findings), *subject["warnings"]],
            }
        ],
        conditions=conditions,
        doubts=[*(f"{request.target}: {each}" for each in findings), *found.doubts(request.target)],
        dataset={"name": request.dataset.name, "digest": request.dataset.digest},
        verify=request.config.of_attacks(),
        test_images=len(request.dataset.test),
        when=aggregated.record.get("started"),
    )


def check_same_subject(out: Path, request: Request) -> None:
    """Raise UsageError where `out` holds the proof of another model or data set."""
    about = About.of([request.digests[request.target]], {"digest": request.dataset.digest})
    check_alike(out, proof_in(out), about)


def folder_of(model: str, out: Path | str | None) -> Path:
    """The folder of a proof: what is asked for, or one that is named after the model."""
    return Path(out) if out is not None else Path("runs") / f"verify-{name_of(model)}"


def name_of(model: str) -> str:
    """A short name of a model, for folders and reports: its file's, or its function's."""
    return model.partition(":")[2] if is_function(model) and not Path(model).exists() else Path(model).stem
