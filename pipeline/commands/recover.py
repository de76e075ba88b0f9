"""Recovery of robustness in an ONNX file that came without any torch code (`edgeproof recover MODEL`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from torch import nn

from ...core.atomic_write import clear_partial_files
from ...core.errors import UsageError
from ...core.model_file import digest_of
from ...stages.adapt import Adapted, AdapterConfig, adapt
from ...stages.data import Dataset, load_dataset
from ...stages.distill import TrainingContext
from ...stages.distill.inner import InnerMaximisation
from ...stages.quantize import MODEL, QuantizeConfig, is_quantized, quantize_student
from ...stages.quantize.precisions.base import precisions
from ...stages.recover import RecoverConfig, recover_onnx
from ...stages.teacher.pretrained import weights_digest
from ...stages.threat import ThreatModel
from ...stages.twin import Twin, load_twin
from ...targets.base import targets
from ...targets.signature import read_signature, signature_of
from ..progress import Reporter
from ..recipe.read import apply_override
from ..recipe.validation_errors import checked, one_line
from ..request.arguments import data_config, option, threat_model
from ..request.image_reading import other_reading
from ..request.network_reference import find_candidate, load_candidate
from ..run.networks import method_code
from ..store.artifact import key_of
from ..store.code_digest import code_digest

_ADAPTED, _QUANTIZED = "adapted", "quantized"
_PARTIAL = ".partial"
_CODE = ("edgeproof.stages.quantize.quantization", "edgeproof.stages.recover.recovery")


def recover_file(
    model: Path,
    *,
    teacher: str,
    dataset: str,
    eps: float | str,
    out: Path,
    norm: str = "Linf",
    target: str = "onnxruntime",
    overrides: Sequence[str] = (),
    data_root: str | Path | None = None,
    image_size: str | int | tuple[int, int] | None = None,
    grey: bool = False,
    weights: str | None = None,
    adapter: AdapterConfig | Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Train a quantized ONNX file's own graph by adversarial distillation, and write it back.

    A float file is quantized first, in the target's scheme. A killed run goes on from its last epoch when the same is
    asked for again.

    Args:
        model: the ONNX file, from any exporter.
        teacher: a float ONNX file, a checkpoint, `MODEL=FILE`, `package.module:function`, or `robustbench/<Name>`.
        dataset: a registered data set, a folder of images, an .npz file, or `package.module:function`.
        eps: radius of the ball.
        out: the folder of `model.onnx`, `recover.json`, `training.json` and `metrics.csv`.
        norm: `Linf` or `L2`.
        target: whose scheme a float file is quantized in.
        overrides: `recover.key=value` and `quantize.key=value`.
        data_root: the folder of local copies of data sets.
        image_size: resize image files to this side, or to HEIGHTxWIDTH such as 48x64.
        grey: read image files as grey, for models of one channel.
        weights: which weights of a teacher's checkpoint with several: `ema`, `raw`, or the keys under which they lie.
        adapter: what stands between pixels in [0, 1] and the file, and between its answers and logits, where that is
            not to be found from it. It stays in the file that is written, which takes pixels and answers with logits.
        reporter: where progress goes.

    Returns:
        what `--json` prints.

    Raises:
        UsageError: an option, the model or the teacher is wrong.
        StageError: training failed.
    """
    reporter = reporter or Reporter(quiet=True)
    threat = threat_model(norm, eps)
    with option("--target: "):
        chosen = targets[target]
    quantize, recover = _sections(overrides)
    with option("--set "):
        InnerMaximisation.of(recover.inner, threat, where="recover.inner")
    said = checked(AdapterConfig, adapter or {}, "--")
    data = load_dataset(data_config(dataset, data_root, image_size, grey=grey))
    adapted = _adapted(model, str(model), said, data)
    for line in adapted.words if adapted else ():
        reporter.notice(f"{model}: {line}")
    network, digest = _teacher(teacher, weights, data, threat, reporter)
    key = key_of(
        {
            "files": {"model": digest_of(model), "teacher": digest},
            **({"adapter": adapted.identity} if adapted else {}),
            "data": data.digest,
            "threat": threat.model_dump(),
            "scheme": vars(chosen.scheme),
            "quantize": quantize.model_dump(mode="json"),
            "recover": recover.model_dump(mode="json"),
            "code": code_digest(*_CODE, type(threat.geometry).__module__, *method_code(recover)),
        }
    )
    partial = out.parent / f".{out.name}{_PARTIAL}-{key}"
    for other in out.parent.glob(f".{out.name}{_PARTIAL}-*"):
        if other != partial:
            reporter.notice(f"{other}: left by a killed run of another request; not used")
    partial.mkdir(parents=True, exist_ok=True)
    source = model
    if adapted is not None:
        source = partial / _ADAPTED / MODEL
        source.parent.mkdir(exist_ok=True)
        adapted.save(source)
    if not is_quantized(source):
        given, source = source, partial / _QUANTIZED / MODEL
        source.parent.mkdir(exist_ok=True)
        quantize_student(given, quantize, chosen.scheme, data, threat, source.parent, notice=reporter.notice)
    with reporter.stage("recover", recover.epochs) as bar:
        running = TrainingContext(folder=partial, on_step=bar.step, on_epoch=bar.epoch, notice=reporter.notice)
        recovery = recover_onnx(source, recover, network, data, threat, partial, running=running)
    clear_partial_files(partial)
    out.mkdir(exist_ok=True)
    for path in sorted(partial.iterdir()):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            os.replace(path, out / path.name)
    partial.rmdir()
    return {
        "model": str(out / MODEL),
        "sha256": digest_of(out / MODEL),
        "from": str(model),
        "teacher": teacher,
        "method": recover.method,
        "threat_model": threat.model_dump(),
        **asdict(recovery),
    }


def show_recovery(result: dict[str, Any], console: Console) -> None:
    """Print what `recover_file` returns."""
    for when in ("before", "after"):
        console.print(
            f"{when}: validation clean {result[f'clean_{when}']:.3f}, PGD {result[f'pgd_{when}']:.3f}", highlight=False
        )
    if result["kept"] == "original":
        console.print("no epoch was better than the file as it came: its weights are unchanged", style="yellow")
    console.print(result["model"], highlight=False, markup=False, soft_wrap=True)


def _sections(overrides: Sequence[str]) -> tuple[QuantizeConfig, RecoverConfig]:
    raw: dict[str, Any] = {"quantize": {}, "recover": {}}
    for override in overrides:
        if override.partition(".")[0].strip() not in raw:
            raise UsageError(f"--set {override!r}: must be of the form recover.key=value or quantize.key=value")
        apply_override(raw, override)
    try:
        quantize = QuantizeConfig.model_validate(raw["quantize"])
    except ValidationError as error:
        raise UsageError(f"--set quantize.{one_line(error, QuantizeConfig)}") from None
    if not precisions[quantize.precision].integers:
        raise UsageError(f"--set quantize.precision: recover trains int8 graphs, got {quantize.precision!r}")
    try:
        return quantize, RecoverConfig.model_validate(raw["recover"])
    except ValidationError as error:
        raise UsageError(f"--set recover.{one_line(error, RecoverConfig)}") from None


def _teacher(
    teacher: str, weights: str | None, data: Dataset, threat: ThreatModel, reporter: Reporter
) -> tuple[nn.Module, str]:
    """Load the teacher, and return a digest of its weights as well."""
    if not teacher.endswith(".onnx"):
        with option("--teacher: "):
            candidate = find_candidate(teacher, None, threat)
        _, found = load_candidate(candidate, data, reporter, weights)
        network = found.classifier(data.image_shape[0], candidate.name)
        return network, weights_digest(network)
    adapted = _adapted(Path(teacher), f"--teacher: {teacher}", AdapterConfig(), data)
    twin = Twin(adapted.model) if adapted else load_twin(teacher)
    return twin.eval().requires_grad_(False), digest_of(Path(teacher))


def _adapted(model: Path, what: str, config: AdapterConfig, data: Dataset) -> Adapted | None:
    """What an ONNX file needs around it, having seen that it then suits the data; `what` is for messages."""
    adapted = adapt(model, config, data.image_shape, len(data.class_names), data.validation.images)
    signature = signature_of(adapted.model, model) if adapted else read_signature(model)
    classes = len(data.class_names)
    if signature.image_shape != data.image_shape or signature.classes != classes:
        raise UsageError(
            f"{what} takes images {list(signature.image_shape)} of {signature.classes} classes, the data are "
            f"{list(data.image_shape)} of {classes}{other_reading(model, data)}"
        )
    return adapted
