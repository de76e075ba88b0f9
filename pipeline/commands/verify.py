"""`verify`: attack a model that somebody else exported, by the same code as a build."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from ...core.errors import UsageError
from ...core.function import is_function
from ...core.model_file import engine_files, sha256_of
from ...core.onnx_reader import read_onnx
from ...stages.verify import CorruptionsConfig, Evaluation, VerifyConfig, Workforce, default_workers
from ...stages.verify.aggregate import FIGURES_FILE
from ...stages.verify.shards.machines import Machines
from ...stages.verify.shards.sequential import ACCURACIES
from ..gates import Condition
from ..gates.figures import CORRUPTED
from ..progress import Reporter
from ..recipe.validation_errors import one_line
from ..reports import render
from ..results.report import Report, doubts_of, draw_up, engine_subject
from ..run.maker import Maker
from ..run.proof import Proof
from ..store.folder_guard import check_own
from ..store.follower import FollowingStore
from ..store.run_files import RunFiles
from ..store.store import Artifact, Store
from .options import data_config, option, threat_model
from .verify_request import Request, check_request


def verify(
    model: str | Path,
    *,
    dataset: str,
    eps: float | str,
    norm: str = "Linf",
    samples: int | None = None,
    data_root: str | Path | None = None,
    store: str | Path | None = None,
    image_size: int | None = None,
    graph: str | Path | None = None,
    surrogate: str | Path | None = None,
    packs: Sequence[str | Path] = (),
    out: str | Path,
    target: str = "onnxruntime",
    options: Sequence[str] = (),
    gates: Sequence[str] = (),
    sequential: bool = False,
    seed: int = 0,
    corruptions: CorruptionsConfig | None = None,
    curve: bool = True,
    workers: int | None = None,
    num_nodes: int = 1,
    reporter: Reporter | None = None,
) -> Report:
    """Attack a model and write its report, per-sample bits and adversarial pack into `out`.

    Args:
        model: an ONNX file or another engine, pixels in [0, 1] in, logits out; or `package.module:function`, float32
            images `[N, C, H, W]` to logits `[N, K]` or labels `[N]`.
        dataset: a registered data set, or `package.module:function`; its test split is attacked.
        eps: radius of the ball, a number or a fraction such as `8/255`.
        norm: `Linf` or `L2`.
        samples: how many test images; all when left out.
        data_root: the folder of local copies of data sets.
        store: the folder of artifacts that runs share; $EDGEPROOF_STORE, or the proof's own when left out.
        image_size: what to resize images to, for the data sets of images of many sizes.
        graph: the ONNX file that the model was built from, where it is an engine of another format.
        surrogate: another ONNX model of the same task; its adversarial examples are replayed, and its
            gradients are a further white-box attack.
        packs: of earlier runs, `adversarial/<subject>.npz`; their examples are replayed.
        out: the folder of the proof.
        target: the runtime that runs the file.
        options: the runtime's, such as `hint=throughput`.
        gates: conditions such as `robust_accuracy >= 0.5`.
        sequential: attack in random order, and only until every gate on an accuracy is decided; the intervals
            are then a confidence sequence for the whole test split. A surrogate's own examples are not replayed.
        seed: seeds the sample draw and the attacks.
        corruptions: common corruptions under which accuracy is measured besides.
        curve: whether accuracy is measured at other radii besides; a sequential run does not.
        workers: processes that attack; one a core when left out.
        num_nodes: machines that share the attacks; each runs the same command and sees the folder.
        reporter: where progress goes.

    Raises:
        UsageError: an argument or the file is wrong (exit code 2).
        BackendMissing: the target's runtime, or what attacks labels, is not installed (exit code 4).
    """
    reporter = reporter or Reporter(quiet=True)
    with option("--gate: "):
        conditions = [Condition.parse_line(line) for line in gates]
    for condition in conditions:
        if condition.relative:
            raise UsageError(
                f"--gate: {condition.figure} {condition.text}: is held against a baseline by "
                f"`edgeproof gate {out} --baseline FILE`"
            )
    if sequential and not any(condition.figure in ACCURACIES for condition in conditions):
        raise UsageError(f"--sequential: needs a gate to decide, on one of: {', '.join(ACCURACIES)}")
    if sequential and num_nodes > 1:
        raise UsageError("--sequential: on one machine; several would attack samples that are not needed")
    if sequential and corruptions is not None:
        raise UsageError("--corruptions: not with --sequential, whose sample ends as soon as the gates are decided")
    if corruptions is None and any(condition.figure == CORRUPTED for condition in conditions):
        raise UsageError(f"--gate: {CORRUPTED} is measured with --corruptions")
    try:
        config = VerifyConfig(samples=samples, seed=seed, corruptions=corruptions, packs=tuple(map(Path, packs)))
    except ValidationError as error:  # the command line's own bounds say it sooner
        raise UsageError(f"--{one_line(error, VerifyConfig)}") from None
    if sequential or not curve:
        config = config.model_copy(update={"curve": None})
    check_own(Path(out), build=False)
    request = check_request(
        str(model),
        data_config(dataset, data_root, image_size),
        threat_model(norm, eps),
        config,
        target,
        options=options,
        graph=graph,
        surrogate=surrogate,
        deciding=tuple(conditions) if sequential else None,
    )
    if num_nodes > 1:
        reporter.notice(f"waiting until all {num_nodes} machines run this command (NODE_RANK, MASTER_ADDR)")
    machines = Machines.launched(num_nodes)
    place = (Store if machines.leads else FollowingStore)(
        Path(out), reporter.notice, None if store is None else Path(store)
    )
    evaluation = Evaluation(request.samples, request.threat, request.config, request.stop, request.earlier)
    workforce = Workforce(workers or default_workers(), machines=machines)
    proof = Proof(Maker(place, reporter), request.dataset, evaluation, workforce)
    with place.locked():
        attacks: dict[str, Artifact] = {}
        for name, subject in request.subjects.items():
            before = list(attacks.values())
            attacks[name] = proof.attacked(subject, before=before, inputs=request.answers(name))
        found = proof.aggregated(request.subjects, attacks, curve_of=[request.target])
        report = _report(request, conditions, json.loads(found.path(FIGURES_FILE).read_text()))
        view = {name: (found, name) for name in found.files}
        place.publish(
            view,
            render(replace(report, files=RunFiles(view=view)), place),
            request=request.digest(),
            external={str(file): sha256_of(file) for file in request.files},
        )
    return report


def _report(request: Request, conditions: Sequence[Condition], figures: dict[str, dict[str, object]]) -> Report:
    found = figures[request.target]
    path = Path(request.model)
    subject = engine_subject(
        request.target,
        path=request.model,
        sha256=request.digests[request.target],
        precision="unknown" if request.graph is None else precision_of(request.graph),
        figures=found,
        options=request.options,
        times={} if request.graph is None else {"size_bytes": sum(file.stat().st_size for file in engine_files(path))},
    )
    return draw_up(
        name=f"verify-{name_of(request.model)}",
        recipe_digest=f"sha256:{request.digest()}",
        threat=request.threat.model_dump(),
        subjects=[{**subject, "warnings": [*request.warnings, *subject["warnings"]]}],
        conditions=conditions,
        doubts=doubts_of(request.target, found),
        dataset={"name": request.dataset.name, "digest": request.dataset.digest},
        verify=request.config.of_attacks(),
    )


def name_of(model: str) -> str:
    """A short name of a model, for folders and reports: its file's, or its function's."""
    return model.partition(":")[2] if is_function(model) and not Path(model).exists() else Path(model).stem


def precision_of(path: Path) -> str:
    """Name the precision of an ONNX file by what it holds: int8, mixed types, fp16 or fp32."""
    import onnx

    model = read_onnx(path, weights=False)
    operators = {node.op_type for node in model.graph.node}
    if operators & {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}:
        return "int8"
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    if onnx.TensorProto.FLOAT16 in kinds:
        return "fp16"
    return "bf16" if onnx.TensorProto.BFLOAT16 in kinds else "fp32"
