"""Files as vendors ship them, made from an ONNX file of ours: other pixels, other answers, another format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def as_vendors_ship(model: Path, path: Path) -> Path:
    """Channels last, (x - 0.5) / 0.5."""
    changed = onnx.load(model)
    channels, height, width = _image(changed)
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["channels_first", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "half"], [changed.graph.input[0].name]),
    ]
    _store(changed, half=np.float32(0.5))
    return _in_front(changed, nodes, ["N", height, width, channels], path)


def from_0_to_255(model: Path, path: Path) -> Path:
    """Pixels from 0 to 255 as floats."""
    changed = onnx.load(model)
    _store(changed, most=np.float32(255))
    nodes = [helper.make_node("Div", ["pixels", "most"], [changed.graph.input[0].name])]
    return _in_front(changed, nodes, ["N", *_image(changed)], path)


def of_colours(model: Path, path: Path) -> Path:
    """Three channels, whose mean counts."""
    changed = onnx.load(model)
    _, height, width = _image(changed)
    nodes = [helper.make_node("ReduceMean", ["pixels", "axes"], [changed.graph.input[0].name], keepdims=1)]
    _store(changed, axes=np.array([1]))
    return _in_front(changed, nodes, ["N", 3, height, width], path)


def with_shares(model: Path, path: Path) -> Path:
    """The logits, and their softmax beside them."""
    changed = onnx.load(model)
    name, classes = _answer(changed)
    changed.graph.node.append(helper.make_node("Softmax", [name], ["shares"], axis=1))
    changed.graph.output.append(helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["N", classes]))
    onnx.save(changed, path)
    return path


def with_a_background(model: Path, path: Path) -> Path:
    """A background class before the others."""
    changed = onnx.load(model)
    name, classes = _answer(changed)
    _store(changed, pads=np.array([0, 1, 0, 0]), low=np.float32(-100))
    nodes = [helper.make_node("Pad", ["before", "pads", "low"], [name])]
    return _behind(changed, nodes, classes + 1, path)


def rolled(model: Path, path: Path) -> Path:
    """Every class in the place of the next."""
    changed = onnx.load(model)
    name, classes = _answer(changed)
    _store(changed, order=np.roll(np.arange(classes), 1))
    return _behind(changed, [helper.make_node("Gather", ["before", "order"], [name], axis=1)], classes, path)


def with_a_default_image(model: Path, path: Path) -> Path:
    """An image of its own for whoever gives none, as for every weight."""
    changed = onnx.load(model)
    entry = changed.graph.input[0]
    entry.type.tensor_type.shape.dim[0].dim_value = 1
    _store(changed, **{entry.name: np.zeros((1, *_image(changed)), np.float32)})
    onnx.save(changed, path)
    return path


def without_a_twin(model: Path, path: Path) -> Path:
    """The pixels through a table of their values, which has no gradient."""
    changed = onnx.load(model)
    nodes = [
        helper.make_node("Unique", ["pixels"], ["values", "", "places"], name="table"),
        helper.make_node("Gather", ["values", "places"], ["row"]),
        helper.make_node("Shape", ["pixels"], ["shape"]),
        helper.make_node("Reshape", ["row", "shape"], [changed.graph.input[0].name]),
    ]
    return _in_front(changed, nodes, ["N", *_image(changed)], path)


def as_ort(model: Path, path: Path) -> Path:
    """ONNX Runtime's own format."""
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(path)
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    return path


def of_vendors_as_ort(model: Path, path: Path) -> Path:
    """The vendor's file in that format."""
    return as_ort(as_vendors_ship(model, path.with_suffix(".before.onnx")), path)


FILES: dict[str, Callable[[Path, Path], Path]] = {
    "vendor.onnx": as_vendors_ship,
    "bytes.onnx": from_0_to_255,
    "colours.onnx": of_colours,
    "shares.onnx": with_shares,
    "background.onnx": with_a_background,
    "rolled.onnx": rolled,
    "default.onnx": with_a_default_image,
    "table.onnx": without_a_twin,
    "engine.ort": as_ort,
    "vendor.ort": of_vendors_as_ort,
}


def _image(model: onnx.ModelProto) -> list[int]:
    _, *image = (size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)
    return image


def _answer(model: onnx.ModelProto) -> tuple[str, int]:
    (output,) = model.graph.output
    return output.name, output.type.tensor_type.shape.dim[1].dim_value


def _store(model: onnx.ModelProto, **values: np.ndarray | np.float32) -> None:
    tensors = (numpy_helper.from_array(np.asarray(value), name) for name, value in values.items())
    model.graph.initializer.extend(tensors)


def _in_front(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], shape: Sequence[int | str], path: Path) -> Path:
    """Put nodes in front, whose input is `pixels`."""
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, list(shape)))
    onnx.save(model, path)
    return path


def _behind(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], classes: int, path: Path) -> Path:
    """Put nodes behind, between `before` and the output's own name."""
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["before" if name == output.name else name for name in node.output]
    model.graph.node.extend(nodes)
    output.type.tensor_type.shape.dim[1].dim_value = classes
    onnx.save(model, path)
    return path
