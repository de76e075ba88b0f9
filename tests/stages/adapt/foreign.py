"""Small classifiers as other tools export them, and what ONNX Runtime answers to arrays prepared by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CHANNELS, HEIGHT, WIDTH, CLASSES = 3, 5, 4, 6
PIXELS = CHANNELS * HEIGHT * WIDTH
SHAPE = (CHANNELS, HEIGHT, WIDTH)


def some_images(count: int = 7) -> np.ndarray:
    """Images of whole 255ths, `[N, C, H, W]`."""
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE)).astype(np.float32) / np.float32(255)


def classifier(
    path: Path,
    dimensions: Sequence[int | str],
    *,
    dtype: int = TensorProto.FLOAT,
    classes: int = CLASSES,
    behind: Sequence[onnx.NodeProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    shape: Sequence[int] = (0, -1),
    opset: int = 17,
) -> Path:
    """One layer, `scores`, on the numbers of an image in whatever order they come.

    Args:
        path: where it goes.
        dimensions: of its input, `images`.
        dtype: of its input.
        classes: how many it has.
        behind: nodes behind `scores`.
        outputs: its outputs; the scores where left out.
        shape: what the images are reshaped to.
        opset: of ONNX.
    """
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(PIXELS, classes)).astype(np.float32)
    bias = rng.normal(size=classes).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["floats", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["scores"]),
        *behind,
    ]
    stored = [
        numpy_helper.from_array(value, name)
        for name, value in (("weight", weight), ("bias", bias), ("shape", np.array(shape, np.int64)))
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("images", dtype, list(dimensions))],
        list(outputs or [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", classes])]),
        stored,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def answers(model: onnx.ModelProto | Path, images: np.ndarray, *, each: int | None = None) -> list[np.ndarray]:
    """What ONNX Runtime answers, in batches of `each` images."""
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = np.split(images, len(images) // (each or len(images)))
    return [np.concatenate(found) for found in zip(*(session.run(None, {name: part}) for part in parts), strict=True)]
