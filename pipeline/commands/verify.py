"""Verification of a model that somebody else exported, by the same code as a build (`edgeproof verify`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ...core.errors import UsageError
from ...core.function import is_function
from ...core.model_file import engine_files, sha256_of
from ...core.reading.published_paths import published_path
from ...core.user_modules import modules_beside_recipe
from ...core.writing.scratch import scratch_folder
from ...stages.adapt import AdapterConfig
from ...stages.quantize.precisions.base import precision_of
from ...stages.verify import CorruptionsConfig, EngineSubject, Evaluation, Subject, Workforce, default_workers
from ...stages.verify.checks.base import Finding
from ...stages.verify.figures import FIGURES_FILE, read_figures
from ...stages.verify.routes.base import routes
from ...stages.verify.shards.machines import Machines
from ...stages.verify.shards.sequential import ACCURACIES
from ..figures.table import figure_named
from ..gates import Condition
from ..progress import Reporter
from ..reports import render
from ..request.adapted_models import MODEL, surrogate_options
from ..request.arguments import option
from ..request.clean_answers import look_at_clean_answers, of_surrogate
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

# The room of adapted models, in the store and in the proof's folder.
_ADAPTED = "adapted"
_ADAPTER_CODE, _CLEAN_CODE = "edgeproof.stages.adapt.adapt", "edgeproof.pipeline.request.clean_answers"


@modules_beside_recipe
def verify(
    model: str | Path,
    *,
    dataset: str | Path | None = None,
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
) -> Report:
    """Attack a model and write its report, per-sample bits and adversarial pack into `out`.

    Args:
        model: the model to attack: an ONNX file from any exporter or another engine, pixels in [0, 1] in, logits out;
            or `package.module:function`, float32 images `[N, C, H, W]` to logits `[N, K]` or labels `[N]`.
        dataset: the data set whose test split is attacked: a name, a folder of images, an .npz file, or
            `package.module:function`. Needed without a recipe.
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
    conditions = conditions_of(gates, folder_of(model, out))
    if sequential and not any(condition.figure in ACCURACIES for condition in conditions):
        raise UsageError(f"--sequential: needs a gate to decide, on one of: {', '.join(ACCURACIES)}")
    if sequential and num_nodes > 1:
        raise UsageError("--sequential: on one machine; several would attack samples that are not needed")
    settings = Settings.read(
        overrides,
        recipe,
        {"dataset": dataset, "root": data_root, "image_size": image_size, "grey": grey or None},
        {"norm": norm, "eps": eps},
        {"samples": samples, "seed": seed, "packs": packs or None, "corruptions": corruptions, "curve": curve},
        adapter=adapter,
        surrogate_adapter=surrogate_adapter,
    )
    config = settings.verify
    if sequential and config.corruptions is not None:
        raise UsageError("--corruptions: not with --sequential, whose sample ends as soon as the gates are decided")
    for condition in conditions:
        needed = figure_named(condition.figure).measured_by
        if needed is not None and getattr(config, needed, None) is None:
            raise UsageError(f"--gate: {condition.figure} is measured with --{needed}")
    if sequential:
        config = config.model_copy(update={"curve": None})
    folder = folder_of(model, out)
    check_own(folder, build=False)
    with scratch_folder() as scratch:
        request = check_request(
            str(model),
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
    about = About.of([request.digests[request.target]], {"digest": request.dataset.digest})
    check_alike(folder, None if force else proof_in(folder), about)
    if settings.all_tests:
        images, place = len(request.dataset.test), request.dataset.sources[0]
        reporter.notice(f"{place}: its {images} images are all test images; a --recipe says where a model was trained")
    for name, adapted in request.adapted.items():
        reporter.notice(f"{name}: {', '.join(adapted.words)}")
    if num_nodes > 1:
        reporter.notice(f"waiting until all {num_nodes} machines run this command (NODE_RANK, MASTER_ADDR)")
    machines = Machines.launched(num_nodes)
    place = (Store if machines.leads else FollowingStore)(
        folder, reporter.notice, None if store is None else Path(store)
    )
    evaluation = Evaluation(request.samples, request.threat, request.config, request.stop, request.earlier)
    workforce = Workforce(workers or default_workers(), machines=machines)
    proof = Proof(Maker(place, reporter), request.dataset, evaluation, workforce)
    with place.locked():
        request = request.on({name: _kept(proof.maker, request, name) for name in request.adapted})
        place.begin(request.digest())
        findings = examined(proof, request, settings, surrogate)
        attacks: dict[str, Artifact] = {}
        for name, subject in request.subjects.items():
            before = list(attacks.values())
            attacks[name] = proof.attacked(subject, before=before, inputs=request.answers(name))
        found = proof.aggregated(request.subjects, attacks, curve_of=[request.target])
        report = _report(request, conditions, findings, found, surrogate)
        kept = [stage for name, stage in proof.maker.made.items() if name.startswith(f"{_ADAPTED}/")]
        view = {name: (found, name) for name in found.files}
        view |= {f"{stage.stage}/{name}": (stage, name) for stage in kept for name in stage.files}
        place.publish(
            view,
            render(replace(report, files=RunFiles(view=view)), place),
            request=request.digest(),
            external={str(file): sha256_of(file) for file in request.files},
        )
    return report


def conditions_of(gates: Sequence[str], folder: Path) -> list[Condition]:
    """The gates, none of which may need a baseline."""
    with option("--gate: "):
        conditions = [Condition.parse_line(line, routes.names()) for line in gates]
    for condition in conditions:
        if condition.relative:
            raise UsageError(
                f"--gate: {condition.figure} {condition.text}: is held against a baseline by "
                f"`edgeproof gate {folder} --baseline FILE`"
            )
    return conditions


def _kept(maker: Maker, request: Request, name: str) -> Path:
    """The file of an adapted model in the store."""
    adapted = request.adapted[name]
    stage = Stage(
        f"{_ADAPTED}/{name}",
        config=adapted.identity,
        inputs={"model": request.digests[name]},
        code=[_ADAPTER_CODE],
        packages=("onnx", "numpy"),
    )
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
) -> Report:
    found = read_figures(aggregated.path(FIGURES_FILE))[request.target]
    path = Path(request.model)
    shown = published_path(path) if path.is_file() else request.model
    subject = engine_subject(
        request.target,
        path=shown,
        sha256=request.digests[request.target],
        precision="unknown" if request.graph is None else precision_of(request.graph),
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


def folder_of(model: str | Path, out: Path | str | None) -> Path:
    """The folder of a proof: what is asked for, or one that is named after the model."""
    return Path(out) if out is not None else Path("runs") / f"verify-{name_of(str(model))}"


def name_of(model: str) -> str:
    """A short name of a model, for folders and reports: its file's, or its function's."""
    return model.partition(":")[2] if is_function(model) and not Path(model).exists() else Path(model).stem
