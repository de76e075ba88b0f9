"""Verification request: what `verify` is asked to prove, checked before anything is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...core.errors import EngineFailure, ModelError, StageError, UsageError
from ...core.function import is_function
from ...core.model_file import digest_of, engine_files, files_of, sha256_of
from ...core.onnx_reader import read_onnx
from ...core.reading.published_paths import published_path
from ...core.writing.scratch import without_scratch
from ...stages.adapt import Adapted, AdapterConfig, reads_eight_bits
from ...stages.data import DataConfig, Dataset, Split, load_dataset
from ...stages.lint import lint
from ...stages.quantize.precisions.base import precision_of
from ...stages.threat import ThreatModel
from ...stages.twin import NoTwin, Twin, load_twin
from ...stages.verify import EngineSubject, FunctionSubject, ModuleSubject, Subject, VerifyConfig
from ...stages.verify.attack import drawn
from ...stages.verify.earlier_packs import read_earlier
from ...stages.verify.evidence.candidates import Candidates
from ...stages.verify.routes.hop_skip_jump import HARD_LABEL, check_installed
from ...stages.verify.shards.sequential import Sequential
from ...stages.verify.subject.inner_logits import differentiable
from ...targets.base import EngineFile, targets
from ...targets.onnxruntime.target import OWN_FORMAT, OnnxRuntime
from ...targets.option_values import read_options
from ...targets.signature import read_signature, signature_of
from ..gates import Condition
from ..store.user_code import functions_digest
from .adapted_models import AdaptedModels, prepared, surrogate_options
from .arguments import option
from .eight_bit import on_eight_bits
from .model_in_memory import ModelInMemory

if TYPE_CHECKING:
    import onnx

SURROGATE = "surrogate"
FUNCTION, MODULE = "function", "module"
# The digest beside those of files that tells a model in memory from others.
_OBJECT = "object"
_FINGERPRINT = 64
_REFUSED = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin"}


@dataclass(frozen=True)
class Request:
    """What is to be proven, checked before anything is written.

    Attributes:
        model: the model's file, `package.module:function`, or the name of a model in memory.
        target: the runtime that runs it.
        threat: the ball.
        config: how hard to try.
        dataset: the data set.
        samples: the test images that are attacked.
        subjects: the model, after the surrogate if there is one.
        digests: SHA-256 of each: of a file's bytes, of a module's weights, some answers and gradients, or of a
            function's source and some answers.
        warnings: what the user should know beforehand.
        graph: the ONNX file of the model's twin; None of a function.
        options: the runtime's, where they are not its own choice.
        stop: ends the attacks as soon as the gates are decided.
        earlier: candidates of earlier runs, of the samples that are attacked.
        read: the models' own files.
        adapted: the models that need something around them, by their subjects' names; their subjects are of files in
            the scratch folder until `on` names others.
        lending: the surrogate, which lends its gradients, as a subject of its own; None without one.
        alone: why the attacks must run in this process alone; empty where they need not.
    """

    model: str
    target: str
    threat: ThreatModel
    config: VerifyConfig
    dataset: Dataset
    samples: Split
    subjects: dict[str, Subject]
    digests: dict[str, str]
    earlier: Candidates
    warnings: tuple[str, ...] = ()
    graph: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    stop: Sequential | None = None
    read: tuple[Path, ...] = ()
    adapted: Mapping[str, Adapted] = field(default_factory=dict)
    lending: EngineSubject | None = None
    alone: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the subjects are read from, as they were given."""
        return tuple(dict.fromkeys([*self.read, *(pack.resolve() for pack in self.config.packs)]))

    @property
    def precision(self) -> str:
        """Of the graph, for people; of a module whether all of its weights are float32."""
        subject = self.subjects[self.target]
        if isinstance(subject, ModuleSubject):
            return "fp32" if all(each.dtype == torch.float32 for each in subject.module.parameters()) else "unknown"
        return "unknown" if self.graph is None else precision_of(self.graph)

    def identity(self) -> dict[str, object]:
        """Everything that the result depends on, as JSON-able data."""
        return {
            "files": self.digests,
            "dataset": self.dataset.digest,
            "threat": self.threat.model_dump(),
            "verify": self.config.model_dump(mode="json", exclude={"packs"}),
            "target": self.target,
            **({"options": dict(self.options)} if self.options else {}),
            **({"adapter": {name: each.identity for name, each in self.adapted.items()}} if self.adapted else {}),
            **({} if self.stop is None else {"stop": repr(self.stop)}),
            **({"packs": [sha256_of(pack) for pack in self.config.packs]} if self.config.packs else {}),
        }

    def answers(self, subject: str) -> dict[str, str]:
        """What tells a function or a module from others: digests of its source, answers, …; nothing for a file."""
        if subject not in (FUNCTION, MODULE):
            return {}
        held = {_OBJECT: self.digests[_OBJECT]} if _OBJECT in self.digests else {}
        return {subject: self.digests[subject], **held}

    def on(self, files: Mapping[str, Path]) -> Request:
        """The same, its adapted models read from these files, by their subjects' names."""
        other = files.get(SURROGATE)

        def moved(name: str, subject: Subject) -> Subject:
            if name in files and isinstance(subject, EngineSubject):
                engine = replace(subject.engine, path=files[name], sha256=digest_of(files[name]))
                subject = replace(subject, engine=engine, graph=files[name])
            if (
                other is not None
                and isinstance(subject, EngineSubject | FunctionSubject | ModuleSubject)
                and subject.surrogate is not None
            ):
                subject = replace(subject, surrogate=other)
            return subject

        subjects = {name: moved(name, subject) for name, subject in self.subjects.items()}
        lending = self.lending
        if lending is not None and other is not None:
            engine = replace(lending.engine, path=other, sha256=digest_of(other))
            lending = replace(lending, engine=engine, graph=other)
        return replace(self, subjects=subjects, graph=files.get(self.target, self.graph), lending=lending)

    def digest(self) -> str:
        """SHA-256 of the identity."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()


def check_request(
    given: str | ModelInMemory,
    source: DataConfig | Dataset,
    threat: ThreatModel,
    config: VerifyConfig,
    target: str,
    *,
    scratch: Path,
    options: Sequence[str] = (),
    graph: str | Path | None = None,
    surrogate: str | Path | None = None,
    adapter: AdapterConfig | None = None,
    surrogate_adapter: AdapterConfig | None = None,
    deciding: tuple[Condition, ...] | None = None,
) -> Request:
    """Check what a user wants proven.

    Args:
        given: an engine file, `package.module:function`, or a model in memory.
        source: the data set, loaded or not.
        threat: the ball.
        config: how hard to try.
        target: the runtime.
        scratch: a folder for adapted models.
        options: its options, `name=value` each.
        graph: the ONNX file that the engine was built from, where it is none itself.
        surrogate: another ONNX file of the task.
        adapter: what is known of the model, where it is an ONNX file.
        surrogate_adapter: what is known of the surrogate.
        deciding: the gates that end the attacks as soon as they are decided; None for a sample of fixed size.

    Raises:
        UsageError: an argument or a file is wrong.
        BackendMissing: the runtime, or what attacks labels, is not installed.
    """
    held = given if isinstance(given, ModelInMemory) else None
    model = given.name if isinstance(given, ModelInMemory) else given
    called = held is not None or (is_function(model) and not Path(model).exists())
    kind = MODULE if held is not None and held.is_module else FUNCTION
    if called:
        _refuse_files_of(model, kind, target, graph)
    own = None if called else _graph_of(Path(model), graph)
    chosen = _options(model, own, target, options)
    adapter, surrogate_adapter = adapter or AdapterConfig(), surrogate_adapter or AdapterConfig()
    if surrogate is None and surrogate_adapter != AdapterConfig():
        raise UsageError(f"--surrogate-{surrogate_adapter.first_set()}: needs a --surrogate, which it is about")
    if adapter != AdapterConfig() and (own is None or graph is not None):
        what = f"{model} is a {kind}, which prepares its pixels itself" if own is None else prepared(model, own)
        raise UsageError(f"--{adapter.first_set()}: is for an ONNX file; {what}")
    data = _loaded(source, held or own, adapter)
    models = AdaptedModels(scratch, data, source.name if isinstance(source, Dataset) else source.dataset)
    runs = None
    if own is not None:
        if graph is not None:
            runs = own
            models.check_graph(own, target, model)
        else:
            runs = models.file_of(target, own, adapter)
            models.check(own, runs, target)
    notes: list[str] = []
    if runs is not None and reads_eight_bits(read_onnx(runs, weights=False)):
        data, threat, notes = on_eight_bits(data, threat, model)
    with option("--"):
        rows = drawn(data.test, config, shuffled=deciding is not None)
    split = data.test.take(rows)
    with option("--pack: "):
        earlier = read_earlier(config.packs, data.test, threat).of(split.index)
    stop = None if deciding is None else Sequential(deciding, len(data.test))
    request = Request(
        model, target, threat, config, data, split, {}, {}, earlier, tuple(notes), options=chosen, stop=stop
    )
    other = None
    if surrogate is not None:
        with option("--surrogate: ", surrogate_options):
            wide = len(data.class_names) if runs is None else read_signature(runs).classes
            other = models.file_of(SURROGATE, Path(surrogate), surrogate_adapter, columns=wide).resolve()
            models.check(Path(surrogate), other, SURROGATE)
            request = _with_surrogate(request, Path(surrogate), _surrogate(request, Path(surrogate), other))
    request = replace(request, adapted=models.found)
    with opening(model, target):
        if held is not None and held.is_module:
            return _with_module(request, held, other)
        if own is None or runs is None:
            return _with_function(request, held, other)
        return _with_engine(request, own, runs, other)


@contextmanager
def opening(model: str, target: str) -> Iterator[None]:
    """Say of an ONNX file that its runtime refuses, or crashes or hangs at, that it is the file."""
    try:
        yield
    except EngineFailure as failure:
        raise ModelError(f"{model}: cannot be opened: {without_scratch(failure, model)}") from None
    except StageError as error:
        if target != OnnxRuntime.name:
            raise
        raise ModelError(without_scratch(error, model)) from None


def _options(model: str, own: Path | None, target: str, given: Sequence[str]) -> Mapping[str, Any]:
    """The runtime's options, once it is clear that it is here and may run the model; `own` is None of a function."""
    if own is not None:
        read_onnx(own, weights=False)
    with option("--target: "):
        runtime = targets[target]
    if own is not None and target == OnnxRuntime.name and Path(model).suffix not in (".onnx", OWN_FORMAT):
        try:
            read_onnx(Path(model), weights=False)
        except ModelError:
            raise UsageError(f"{model}: is no ONNX file; name the runtime that runs it with --target") from None
    runtime.check_available()
    with option("--option: "):
        chosen = read_options(runtime.options, given).chosen
        if own is None and chosen:
            raise UsageError(f"{model} is a function, which no target runs")
    return chosen


def _surrogate(request: Request, given: Path, runs: Path) -> EngineSubject:
    """The surrogate as a subject of its own.

    Args:
        request: of the rest.
        given: its file.
        runs: that with the adapter that it may need.

    Raises:
        UsageError: it has no twin, and so no gradients to lend.
    """
    config = request.config
    try:
        reason = (
            "" if differentiable(load_twin(runs), request.dataset.image_shape) else "no gradient reaches the images"
        )
    except NoTwin as error:
        reason, _, _ = str(error).partition(". ")
    if reason:
        raise UsageError(f"{given}: lends no gradients: {reason}; name another model of the task") from None
    # The model's own runtime need not read ONNX files.
    reads = request.target if Path(request.model).suffix == runs.suffix else OnnxRuntime.name
    return EngineSubject(SURROGATE, EngineFile.of(reads, runs), runs, config.backward, isolated=config.isolate)


def _with_surrogate(request: Request, given: Path, subject: EngineSubject) -> Request:
    """The request with the surrogate, whose file as it was given is `given`."""
    return replace(
        request,
        subjects={SURROGATE: subject} if request.stop is None else {},
        lending=subject,
        digests={SURROGATE: digest_of(given)},
        read=files_of(given.resolve()),
    )


def _refuse_files_of(model: str, kind: str, target: str, graph: str | Path | None) -> None:
    """Refuse what is said of a model's file, where it is a function or a module."""
    if target != OnnxRuntime.name:
        raise UsageError(f"--target: {model} is a {kind}, which no target runs; leave it out")
    if graph is not None:
        raise UsageError(f"--graph: {model} is a {kind}; an ONNX file of its task is its --surrogate")


def _loaded(source: DataConfig | Dataset, model: ModelInMemory | Path | None, adapter: AdapterConfig) -> Dataset:
    """The data set.

    Where its classes are numbers, and it is in memory, they are as many as the model has: the last ones may have no
    test image. An adapter says itself which of the model's classes are meant.
    """
    if not isinstance(source, Dataset):
        return load_dataset(source, tests_only=True)
    named, classes = len(source.class_names), None
    if adapter != AdapterConfig() or source.class_names != tuple(map(str, range(named))):
        return source
    if isinstance(model, ModelInMemory):
        classes = model.classes(source.image_shape)
    elif model is not None:
        with suppress(ModelError):  # told where the model is adapted
            classes = read_signature(model).classes
    return (
        source if classes is None or classes <= named else replace(source, class_names=tuple(map(str, range(classes))))
    )


def _with_module(request: Request, held: ModelInMemory, surrogate: Path | None) -> Request:
    data, module = request.dataset, held.object
    assert isinstance(module, nn.Module)
    subject = ModuleSubject(MODULE, module, data.image_shape, len(data.class_names), surrogate)
    # Neither weights nor the classes' own code tell what it calls besides; its answers and gradients do.
    told = subject.fingerprint(request.samples.images[:_FINGERPRINT])
    return replace(
        request,
        target=MODULE,
        subjects={**request.subjects, MODULE: subject},
        digests={**request.digests, MODULE: told, _OBJECT: held.digest},
        alone=held.alone,
    )


def _with_function(request: Request, held: ModelInMemory | None, surrogate: Path | None) -> Request:
    data, config = request.dataset, request.config
    named = request.model if held is None else held.object
    function = FunctionSubject(FUNCTION, named, data.image_shape, len(data.class_names), surrogate)
    with closing(function.open()) as opened:
        if opened.labels_only:
            check_installed()
            config = config.model_copy(update={"routes": (*config.routes, HARD_LABEL)})
        # Its source does not tell which weights it loads; its answers do.
        answers = opened.predict(request.samples.images[:_FINGERPRINT]).tobytes()
    source = functions_digest(request.model) if held is None else ""
    digest = hashlib.sha256(source.encode() + answers).hexdigest()
    return replace(
        request,
        target=FUNCTION,
        config=config,
        subjects={**request.subjects, FUNCTION: function},
        digests={**request.digests, FUNCTION: digest, **({} if held is None else {_OBJECT: held.digest})},
        alone="" if held is None else held.alone,
    )


def _with_engine(request: Request, own: Path, runs: Path, surrogate: Path | None) -> Request:
    """The request with the engine.

    Args:
        request: of the rest.
        own: the ONNX file of the model, as it was given.
        runs: that with its adapter, where it needs one.
        surrogate: the ONNX file of the surrogate.
    """
    target, given = request.target, Path(request.model).resolve()
    file = given if runs == own else runs.resolve()
    graph = runs.resolve()
    digest = digest_of(given)
    engine = EngineFile(target, file, digest if file == given else digest_of(file), request.options)
    subject = EngineSubject(target, engine, graph, request.config.backward, surrogate, request.config.isolate)
    digests, read = {**request.digests, target: digest}, engine_files(given)
    if own.resolve() != given:
        digests["graph"] = digest_of(own.resolve())
        read = (*read, *files_of(own.resolve()))
    model = read_onnx(graph)
    return replace(
        request,
        subjects={**request.subjects, target: subject},
        digests=digests,
        read=(*request.read, *read),
        warnings=(*request.warnings, *_refused(subject, model, own), *_warnings(subject, model, own)),
        graph=graph,
    )


def _graph_of(model: Path, graph: str | Path | None) -> Path:
    """The ONNX file of the twin: the model itself, or the one that the user names.

    Raises:
        UsageError: the model is of another kind and none is named, or it is one that can run code.
    """
    if model.suffix.lower() in _REFUSED:
        raise UsageError(
            f"{model}: a pickle can run code when it is loaded and is refused; export the model as ONNX and verify that"
        )
    if graph is not None:
        return Path(graph)
    if model.suffix == ".onnx" or not model.is_file():
        return model
    raise UsageError(f"{model}: is no ONNX file; name the one that it was built from with --graph, for its gradients")


def _refused(subject: EngineSubject, model: onnx.ModelProto, own: Path) -> list[str]:
    """What the runtime refuses or misreads in the model, as far as it is known; `own` is its file as it was given."""
    found = lint(model, targets[subject.engine.target].scheme)
    return [f"lint: {published_path(own)}: {each.node}: {each.message}" for each in found if each.severity == "error"]


def _warnings(subject: EngineSubject, model: onnx.ModelProto, own: Path) -> tuple[str, ...]:
    """What the user should know beforehand: that the graph has no twin, or that it is asked in small batches.

    Args:
        subject: the engine.
        model: its graph, with its weights.
        own: the ONNX file as it was given.
    """
    found: list[str] = []
    batch = signature_of(model, subject.graph).batch
    if batch is not None:
        shown = published_path(own)
        found.append(
            f"fixed-batch: {shown}: computes batches of {batch} alone; asked one after another they take longer"
        )
    try:
        Twin(model)
    except NoTwin as error:
        with closing(subject.open()) as opened:
            gradients = opened.gradient_sources
        left = f"the gradients are those of: {', '.join(gradients)}"
        if not gradients:
            left = "without gradients only black boxes attack; name an ONNX model of its task with --surrogate"
        found.append(f"no-twin: {published_path(own)}: {error}; {left}")
    return tuple(found)
