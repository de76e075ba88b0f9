"""ONNX export: the student as a float file, pixels in and logits out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from ..core.config import Config
from ..core.errors import StageError
from ..targets.onnxruntime.target import open_session
from ..targets.signature import read_signature
from .data import Dataset
from .distill.training.selection import pgd_attack
from .properties import describe
from .threat import ThreatModel

MODEL = "model.onnx"
PARITY_SAMPLES = 200
PARITY_STEPS = 10
# protobuf's limit for a message, less what the graph itself may need.
LARGEST = 2**31 - 2**24


class ExportConfig(Config):
    """How the student is exported.

    Attributes:
        opset: ONNX operator set; 18 is what the exporter speaks natively and every target reads.
        tolerance: largest allowed difference between torch and ONNX Runtime, relative to the largest logit.
    """

    opset: int = 18
    tolerance: float = 1e-4


def export_student(
    model: nn.Module,
    config: ExportConfig,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    *,
    recipe_digest: str,
) -> None:
    """Write `model.onnx` and `parity.json`, having asserted that torch and the file agree.

    Raises:
        StageError: the exporter fails, or file and model differ by more than the tolerance.
    """
    path = folder / MODEL
    export_onnx(model, dataset.image_shape, path, opset=config.opset)
    describe(
        path,
        {
            "edgeproof.recipe_digest": recipe_digest,
            "edgeproof.class_names": json.dumps(dataset.class_names),
            "edgeproof.threat_model": json.dumps(threat.model_dump()),
        },
    )
    parity = measure_parity(model, path, dataset, threat)
    parity["tolerance"] = config.tolerance
    (folder / "parity.json").write_text(json.dumps(parity, indent=1))
    if parity["smallest_tolerance_that_passes"] > config.tolerance:
        raise StageError(
            "export: torch and the ONNX file differ by "
            f"{parity['smallest_tolerance_that_passes']:.3g} relative to the largest logit, "
            f"export.tolerance is {config.tolerance:g}"
        )


def export_onnx(model: nn.Module, image_shape: tuple[int, int, int], path: Path, *, opset: int) -> None:
    """Export a classifier with a free batch size; the same model gives the same bytes.

    Raises:
        StageError: the exporter fails, or the weights are more than one ONNX file holds.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if size > LARGEST:
        raise StageError(
            f"export: the model's weights take {size / 2**30:.1f} GiB, and an ONNX file holds less than 2; "
            "distil into a smaller student"
        )
    # Two images: the exporter would specialise a batch of one.
    example = torch.zeros(2, *image_shape)
    try:
        program = torch.onnx.export(
            model.eval(),
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    except Exception as error:  # the exporter's errors share no base class
        raise StageError(f"export: the model cannot be exported: {str(error).splitlines()[0]}") from error
    assert program is not None
    proto = program.model_proto
    _forget_the_exporting_machine(proto)
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    read_signature(path)


def measure_parity(model: nn.Module, path: Path, dataset: Dataset, threat: ThreatModel) -> dict[str, float]:
    """Compare torch with ONNX Runtime on clean and adversarial validation images.

    Returns the largest difference of each, the scale (largest absolute logit) and the smallest relative
    tolerance that would pass.
    """
    split = dataset.validation.take(slice(0, PARITY_SAMPLES))
    clean, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    adversarial = pgd_attack(model, clean, labels, threat, steps=PARITY_STEPS, seed=0)
    session = open_session(path)
    differences: list[float] = []
    scale = 0.0
    for images in (clean, adversarial):
        with torch.no_grad():
            expected = model(images).numpy()
        (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        differences.append(float(np.abs(found - expected).max()))
        scale = max(scale, float(np.abs(expected).max()))
    return {
        "samples": float(len(split)),
        "clean_max_difference": differences[0],
        "adversarial_max_difference": differences[1],
        "largest_logit": scale,
        "smallest_tolerance_that_passes": max(differences) / max(scale, 1e-12),
    }


def _forget_the_exporting_machine(model: onnx.ModelProto) -> None:
    # The exporter writes stack traces with absolute paths into every node: they would tell of the machine,
    # and make equal models differ.
    for graph_part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del graph_part.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
