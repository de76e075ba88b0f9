"""`verify`: attack a model that somebody else exported, by the same code as a build."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from ..stages.data import DataConfig, load_dataset
from ..stages.threat import ThreatModel
from ..stages.verify import (
    Attacked,
    EngineSubject,
    VerifyConfig,
    attack_subject,
    default_workers,
    sample,
    settle,
)
from ..stages.verify.candidates import Candidates
from ..stages.verify.route import routes
from ..stages.verify.settle import FIGURES
from ..targets.base import EngineFile, targets
from ..targets.errors import BackendMissing, UsageError
from ..targets.signature import ModelSignature, read_signature
from .gate import Condition
from .problems import one_line
from .progress import Reporter
from .report import Report, doubts_of, draw_up, engine_subject
from .reports import render
from .store import Store

ATTACKING = ("torch", "onnx", "onnxruntime", "pyautoattack", "numpy")
_REFUSED = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin"}


def verify(
    model: str | Path,
    *,
    dataset: str,
    eps: float | str,
    norm: str = "Linf",
    samples: int | None = None,
    surrogate: str | Path | None = None,
    out: str | Path,
    target: str = "onnxruntime",
    gates: Sequence[str] = (),
    seed: int = 0,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Report:
    """Attack an ONNX file and write its report, per-sample bits and adversarial pack into `out`.

    Args:
        model: the ONNX file: pixels in [0, 1] in, logits out.
        dataset: a registered data set; its test split is attacked.
        eps: radius of the ball, a number or a fraction such as `8/255`.
        norm: `Linf` or `L2`.
        samples: how many test images; all when left out.
        surrogate: another ONNX model of the same task; its adversarial examples are replayed, and its
            gradients are a further white-box attack.
        out: the folder of the proof.
        target: the runtime that runs the model.
        gates: conditions such as `robust_accuracy >= 0.5`.
        seed: seeds the sample draw and the attacks.
        workers: processes that attack; one a core when left out.
        reporter: where progress goes.

    Raises:
        UsageError: an argument or the file is wrong (exit code 2).
        BackendMissing: the target's runtime is not installed (exit code 4).
    """
    reporter = reporter or Reporter(quiet=True)
    path = Path(model)
    threat = _threat(norm, eps)
    conditions = [Condition.parse_line(line) for line in gates]
    _refuse_code(path)
    signature = read_signature(path)
    state = targets[target].available()
    if not state.available:
        raise BackendMissing(f"target {target!r}: {state.reason}")
    data = load_dataset(DataConfig(dataset=dataset))
    for name, found, expected in (
        ("images", signature.image_shape, data.image_shape),
        ("classes", signature.classes, len(data.class_names)),
    ):
        if found != expected:
            raise UsageError(f"{path}: its {name} are {found}, those of dataset {dataset!r} are {expected}")
    config = VerifyConfig(samples=samples, seed=seed)
    split = sample(data.test, config)

    store = Store(Path(out), reporter.notice)
    with store.locked():
        files = {target: path}
        if surrogate is not None:
            files = {"surrogate": _surrogate(Path(surrogate), signature), target: path}
        subjects = {
            name: EngineSubject(name, EngineFile.of(target, file.resolve()), file.resolve(), config.backward)
            for name, file in files.items()
        }
        if surrogate is not None:
            subjects[target] = replace(subjects[target], surrogate=files["surrogate"].resolve())
        request = {
            "files": {name: subject.engine.sha256 for name, subject in subjects.items()},
            "dataset": data.digest,
            "threat": threat.model_dump(),
            "verify": config.model_dump(mode="json"),
            "target": target,
        }
        artifacts = {}
        pool: Candidates | None = None
        for name, subject in subjects.items():
            order = config.routes if pool is not None else tuple(r for r in config.routes if r != "replay")

            def work(folder: Path, subject=subject, order=order, pool=pool, bar_name=name) -> None:
                with reporter.stage(f"attack {bar_name}") as bar:
                    attack_subject(
                        subject,
                        split,
                        threat,
                        config,
                        order,
                        folder,
                        pool=pool,
                        workers=workers or default_workers(),
                        progress=bar.shards,
                    )

            artifacts[name] = store.make(
                f"attack/{name}",
                work,
                config={**request, "order": list(order)},
                inputs={"model": subject.engine.sha256},
                code=["edgeproof.stages.verify.attack", *(type(routes[r]).__module__ for r in order)],
                packages=ATTACKING,
                seed=seed,
                resumable=True,
            )
            pool = Attacked.load(artifacts[name].folder).candidates
        attacked = {name: Attacked.load(artifact.folder) for name, artifact in artifacts.items()}
        settled = store.make(
            "settle",
            lambda folder: settle(attacked, subjects, split, folder),
            config=request,
            inputs={name: artifact.key for name, artifact in artifacts.items()},
            code=["edgeproof.stages.verify.settle"],
            packages=ATTACKING,
            parents=list(artifacts.values()),
        )
        figures = json.loads(settled.path(FIGURES).read_text())
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        report = draw_up(
            name=f"verify-{path.stem}",
            recipe_digest=f"sha256:{digest}",
            threat=threat.model_dump(),
            subjects=[
                engine_subject(
                    target,
                    path=str(path),
                    sha256=subjects[target].engine.sha256,
                    precision=precision_of(path),
                    figures=figures[target],
                    size_bytes=path.stat().st_size,
                )
            ],
            conditions=conditions,
            doubts=doubts_of(target, figures[target]),
        )
        view = {name: (settled, name) for name in settled.files}
        store.publish(
            view,
            render(report),
            request=digest,
            external={str(subject.graph): subject.engine.sha256 for subject in subjects.values()},
        )
    return report


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


def _threat(norm: str, eps: float | str) -> ThreatModel:
    try:
        return ThreatModel.model_validate({"norm": norm, "eps": eps})
    except ValidationError as error:
        raise UsageError(f"--{one_line(error, ThreatModel)}") from None


def _refuse_code(path: Path) -> None:
    if path.suffix.lower() in _REFUSED:
        raise UsageError(
            f"{path}: a pickle can run code when it is loaded and is refused; export the model as ONNX and verify that"
        )


def _surrogate(path: Path, signature: ModelSignature) -> Path:
    _refuse_code(path)
    found = read_signature(path)
    if (found.image_shape, found.classes) != (signature.image_shape, signature.classes):
        raise UsageError(f"--surrogate {path}: takes other images or has other classes than the model")
    return path
