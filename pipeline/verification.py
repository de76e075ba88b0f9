"""`verify`: attack a model that somebody else exported, by the same code as a build."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..stages.data import DataConfig, Dataset, Split, load_dataset
from ..stages.threat import ThreatModel
from ..stages.twin import UnsupportedOperator, load_twin
from ..stages.verify import (
    Attacked,
    CorruptionsConfig,
    EngineSubject,
    FunctionSubject,
    Subject,
    VerifyConfig,
    attack_subject,
    default_workers,
    sample,
    settle,
)
from ..stages.verify.candidates import Candidates
from ..stages.verify.route import routes
from ..stages.verify.routes.hop_skip_jump import HARD_LABEL, check_installed
from ..stages.verify.sequential import ACCURACIES, Sequential
from ..stages.verify.settle import FIGURES
from ..targets.base import EngineFile, targets
from ..targets.errors import BackendMissing, UsageError
from ..targets.function import is_function
from ..targets.model_file import files_of, sha256_of
from ..targets.signature import ModelSignature, read_signature
from .functions import functions_digest
from .gate import CORRUPTED, Condition
from .options import data_config, option, threat_model
from .progress import Reporter
from .report import Report, doubts_of, draw_up, engine_subject
from .reports import render
from .stages.attacks import ATTACKING, SETTLING
from .store import Artifact, Store

SURROGATE = "surrogate"
FUNCTION = "function"
_FINGERPRINT = 64
_REFUSED = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin"}


@dataclass(frozen=True)
class Request:
    """What is to be proven, checked before anything is written.

    Attributes:
        model: the model's file, or `package.module:function`.
        target: the runtime that runs it.
        threat: the ball.
        config: how hard to try.
        dataset: the data set.
        samples: the test images that are attacked.
        subjects: the model, after the surrogate if there is one.
        digests: SHA-256 of each: of a file's bytes, or of a function's source and some answers.
        warnings: what the user should know beforehand.
        stop: ends the attacks as soon as the gates are decided.
    """

    model: str
    target: str
    threat: ThreatModel
    config: VerifyConfig
    dataset: Dataset
    samples: Split
    subjects: dict[str, Subject]
    digests: dict[str, str]
    warnings: tuple[str, ...]
    stop: Sequential | None = None

    def identity(self) -> dict[str, object]:
        """Everything that the result depends on, as JSON-able data."""
        return {
            "files": self.digests,
            "dataset": self.dataset.digest,
            "threat": self.threat.model_dump(),
            "verify": self.config.model_dump(mode="json"),
            "target": self.target,
            **({} if self.stop is None else {"stop": repr(self.stop)}),
        }

    def digest(self) -> str:
        """SHA-256 of the identity."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()


def verify(
    model: str | Path,
    *,
    dataset: str,
    eps: float | str,
    norm: str = "Linf",
    samples: int | None = None,
    data_root: str | Path | None = None,
    image_size: int | None = None,
    surrogate: str | Path | None = None,
    out: str | Path,
    target: str = "onnxruntime",
    gates: Sequence[str] = (),
    sequential: bool = False,
    seed: int = 0,
    corruptions: CorruptionsConfig | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Report:
    """Attack a model and write its report, per-sample bits and adversarial pack into `out`.

    Args:
        model: an ONNX file, pixels in [0, 1] in, logits out; or `package.module:function`, float32 images
            `[N, C, H, W]` to logits `[N, K]` or labels `[N]`.
        dataset: a registered data set, or `package.module:function`; its test split is attacked.
        eps: radius of the ball, a number or a fraction such as `8/255`.
        norm: `Linf` or `L2`.
        samples: how many test images; all when left out.
        data_root: the folder of local copies of data sets.
        image_size: what to resize images to, for the data sets of images of many sizes.
        surrogate: another ONNX model of the same task; its adversarial examples are replayed, and its
            gradients are a further white-box attack.
        out: the folder of the proof.
        target: the runtime that runs the ONNX file.
        gates: conditions such as `robust_accuracy >= 0.5`.
        sequential: attack in random order, and only until every gate on an accuracy is decided; the intervals
            are then a confidence sequence for the whole test split. A surrogate's own examples are not replayed.
        seed: seeds the sample draw and the attacks.
        corruptions: common corruptions under which accuracy is measured besides.
        workers: processes that attack; one a core when left out.
        reporter: where progress goes.

    Raises:
        UsageError: an argument or the file is wrong (exit code 2).
        BackendMissing: the target's runtime, or what attacks labels, is not installed (exit code 4).
    """
    reporter = reporter or Reporter(quiet=True)
    with option("--gate: "):
        conditions = [Condition.parse_line(line) for line in gates]
    if sequential and not any(condition.figure in ACCURACIES for condition in conditions):
        raise UsageError(f"--sequential: needs a gate to decide, on one of: {', '.join(ACCURACIES)}")
    if sequential and corruptions is not None:
        raise UsageError("--corruptions: not with --sequential, whose sample ends as soon as the gates are decided")
    if corruptions is None and any(condition.figure == CORRUPTED for condition in conditions):
        raise UsageError(f"--gate: {CORRUPTED} is measured with --corruptions")
    config = VerifyConfig(samples=samples, seed=seed, corruptions=corruptions)
    request = _checked(
        str(model),
        data_config(dataset, data_root, image_size),
        threat_model(norm, eps),
        config,
        target,
        surrogate,
        deciding=tuple(conditions) if sequential else None,
    )
    store = Store(Path(out), reporter.notice)
    with store.locked():
        artifacts: list[Artifact] = []
        for name in request.subjects:
            artifacts.append(_attacked(request, name, artifacts, store, reporter, workers or default_workers()))
        settled = _settled(request, artifacts, store)
        report = _report(request, conditions, json.loads(settled.path(FIGURES).read_text()))
        store.publish(
            {name: (settled, name) for name in settled.files},
            render(report),
            request=request.digest(),
            external={
                str(file): sha256_of(file)
                for subject in request.subjects.values()
                if isinstance(subject, EngineSubject)
                for file in files_of(subject.graph)
            },
        )
    return report


def _checked(
    model: str,
    source: DataConfig,
    threat: ThreatModel,
    config: VerifyConfig,
    target: str,
    surrogate: str | Path | None,
    *,
    deciding: tuple[Condition, ...] | None,
) -> Request:
    called = is_function(model) and not Path(model).exists()
    path = Path(model)
    signature = None if called else _signature(path)
    with option("--target: "):
        state = targets[target].available()
    if not state.available:
        raise BackendMissing(f"target {target!r}: {state.reason}")
    data = load_dataset(source)
    _same_task(path, signature, data, source.dataset)
    with option("--"):
        split = sample(data.test, config, shuffled=deciding is not None)
    stop = None if deciding is None else Sequential(deciding, len(data.test))
    subjects: dict[str, Subject] = {}
    digests: dict[str, str] = {}
    other = None
    if surrogate is not None:
        other = Path(surrogate).resolve()
        with option("--surrogate: "):
            _same_task(Path(surrogate), _signature(other), data, source.dataset)
        of_surrogate = EngineSubject(SURROGATE, EngineFile.of(target, other), other, config.backward)
        digests[SURROGATE] = of_surrogate.engine.sha256
        if stop is None:
            subjects[SURROGATE] = of_surrogate
    if called:
        function = FunctionSubject(FUNCTION, model, data.image_shape, len(data.class_names), other)
        surface = function.open()
        if surface.labels_only:
            check_installed()
            config = config.model_copy(update={"routes": (*config.routes, HARD_LABEL)})
        subjects[FUNCTION] = function
        # Its source does not tell which weights it loads; its answers do.
        answers = surface.predict(split.images[:_FINGERPRINT]).tobytes()
        digests[FUNCTION] = hashlib.sha256(functions_digest(model).encode() + answers).hexdigest()
        return Request(model, FUNCTION, threat, config, data, split, subjects, digests, (), stop)
    file = path.resolve()
    subject = EngineSubject(target, EngineFile.of(target, file), file, config.backward, other)
    subjects[target], digests[target] = subject, subject.engine.sha256
    return Request(model, target, threat, config, data, split, subjects, digests, _warnings(path, subject), stop)


def _same_task(path: Path, signature: ModelSignature | None, data: Dataset, name: str) -> None:
    if signature is None:
        return
    for what, found, expected in (
        ("images", signature.image_shape, data.image_shape),
        ("classes", signature.classes, len(data.class_names)),
    ):
        if found != expected:
            raise UsageError(f"{path}: its {what} are {found}, those of dataset {name!r} are {expected}")


def _attacked(
    request: Request, name: str, before: list[Artifact], store: Store, reporter: Reporter, workers: int
) -> Artifact:
    """Attack one subject; what was found on the ones before is replayed on it."""
    config, subject = request.config, request.subjects[name]
    order = config.routes if before else tuple(route for route in config.routes if route != "replay")
    shape = request.dataset.image_shape

    def work(folder: Path) -> None:
        pool = Candidates.join([Attacked.load(artifact.folder).candidates for artifact in before], shape)
        with reporter.stage(f"attack {name}") as bar:
            attack_subject(
                subject,
                request.samples,
                request.threat,
                config,
                order,
                folder,
                pool=pool,
                workers=workers,
                progress=bar.shards,
                stop=request.stop,
            )

    return store.make(
        f"attack/{name}",
        work,
        config={**request.identity(), "verify": config.of_attacks(), "order": list(order)},
        inputs={artifact.stage: artifact.key for artifact in before},
        code=["edgeproof.stages.verify.attack", *(type(routes[route]).__module__ for route in order)],
        packages=ATTACKING,
        parents=before,
        seed=config.seed,
        resumable=True,
    )


def _settled(request: Request, artifacts: list[Artifact], store: Store) -> Artifact:
    dataset = {"name": request.dataset.name, "digest": request.dataset.digest}
    about = {"threat": request.threat.model_dump(mode="json"), "dataset": dataset}

    def work(folder: Path) -> None:
        attacked = {
            name: Attacked.load(artifact.folder) for name, artifact in zip(request.subjects, artifacts, strict=True)
        }
        settle(
            attacked,
            request.subjects,
            request.samples,
            folder,
            stop=request.stop,
            about=about,
            corruptions=request.config.corruptions,
        )

    return store.make(
        "settle",
        work,
        config={**request.identity(), "about": about},
        inputs={artifact.stage: artifact.key for artifact in artifacts},
        code=["edgeproof.stages.verify.settle"],
        packages=SETTLING,
        parents=artifacts,
    )


def _report(request: Request, conditions: Sequence[Condition], figures: dict[str, dict[str, object]]) -> Report:
    found = figures[request.target]
    called = request.target == FUNCTION
    path = Path(request.model)
    subject = engine_subject(
        request.target,
        path=request.model,
        sha256=request.digests[request.target],
        precision="unknown" if called else precision_of(path),
        figures=found,
        times={} if called else {"size_bytes": sum(file.stat().st_size for file in files_of(path))},
    )
    return draw_up(
        name=f"verify-{name_of(request.model)}",
        recipe_digest=f"sha256:{request.digest()}",
        threat=request.threat.model_dump(),
        subjects=[{**subject, "warnings": [*request.warnings, *subject["warnings"]]}],
        conditions=conditions,
        doubts=doubts_of(request.target, found),
    )


def name_of(model: str) -> str:
    """A short name of a model, for folders and reports: its file's, or its function's."""
    return model.partition(":")[2] if is_function(model) and not Path(model).exists() else Path(model).stem


def _signature(path: Path) -> ModelSignature:
    if path.suffix.lower() in _REFUSED:
        raise UsageError(
            f"{path}: a pickle can run code when it is loaded and is refused; export the model as ONNX and verify that"
        )
    return read_signature(path)


def _warnings(path: Path, subject: EngineSubject) -> tuple[str, ...]:
    """What the user should know beforehand: that the graph has no twin.

    Raises:
        UnsupportedOperator: nor has it inner logits that have one, and there is no surrogate.
    """
    try:
        load_twin(path)
    except UnsupportedOperator as error:
        gradients = subject.open().differentiable
        if not gradients:
            raise
        return (f"no-twin: {error}; the gradients are those of: {', '.join(gradients)}",)
    return ()


def precision_of(path: Path) -> str:
    """Name the precision of an ONNX file by what it holds: int8, mixed types, fp16 or fp32."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    operators = {node.op_type for node in model.graph.node}
    if operators & {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}:
        return "int8"
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    if onnx.TensorProto.FLOAT16 in kinds:
        return "fp16"
    return "bf16" if onnx.TensorProto.BFLOAT16 in kinds else "fp32"
