"""A file as vendors ship it: channels last, pixels in [-1, 1], another output beside the logits' softmax."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def as_vendors_ship(model: Path, path: Path) -> Path:
    """Write an ONNX file of ours as one that wants (x - 0.5) / 0.5, `[N, H, W, C]`."""
    changed = onnx.load(model)
    graph = changed.graph
    (entry,) = graph.input
    _, *image = (dim.dim_value for dim in entry.type.tensor_type.shape.dim)
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["channels_first", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "half"], [entry.name]),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)
    graph.initializer.append(numpy_helper.from_array(np.float32(0.5).reshape(()), "half"))
    del graph.input[:]
    shape = ["N", *image[1:], image[0]]
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape))
    onnx.save(changed, path)
    return path
