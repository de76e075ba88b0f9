"""Planted defences: ONNX files that hide one and the same student behind something an attack may stumble over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

INPUT, LOGITS = "hidden/images", "hidden/logits"


def defended(
    source: Path,
    path: Path,
    *,
    before: Sequence[NodeProto] = (),
    after: Sequence[NodeProto] = (),
    constants: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write the model of `source` with nodes before its images and behind its logits.

    Args:
        source: the student's float file.
        path: where the defended one goes.
        before: nodes from `images` to `INPUT`; none leave the images as they are.
        after: nodes from `LOGITS` (and `images`) to `logits`; none leave the logits as they are.
        constants: initialisers of both.
    """
    model = onnx.load(source)
    graph = model.graph
    (images,), (logits,) = graph.input, graph.output
    for node in graph.node:
        for names, given, hidden in ((node.input, images.name, INPUT), (node.output, logits.name, LOGITS)):
            for place, name in enumerate(names):
                if (name == given) and (before if hidden == INPUT else after):
                    names[place] = hidden
        for place, name in enumerate(node.input):
            if name == logits.name and after:
                node.input[place] = LOGITS
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in (constants or {}).items())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def _n(op_type: str, inputs: Sequence[str], output: str, **attributes: object) -> NodeProto:
    return helper.make_node(op_type, list(inputs), [output], **attributes)


def rounding(source: Path, path: Path) -> Path:
    """The pixels are rounded to 32 levels before the network."""
    nodes = [_n("Mul", ["images", "levels"], "a"), _n("Round", ["a"], "b"), _n("Div", ["b", "levels"], INPUT)]
    return defended(source, path, before=nodes, constants={"levels": np.float32(31)})


def bit_depth(source: Path, path: Path) -> Path:
    """Bit-depth reduction (Xu, Evans & Qi 2018), by way of integers."""
    nodes = [
        _n("Mul", ["images", "levels"], "a"),
        _n("Add", ["a", "half"], "b"),
        _n("Floor", ["b"], "c"),
        _n("Cast", ["c"], "d", to=TensorProto.UINT8),
        _n("Cast", ["d"], "e", to=TensorProto.FLOAT),
        _n("Div", ["e", "levels"], INPUT),
    ]
    return defended(source, path, before=nodes, constants={"levels": np.float32(15), "half": np.float32(0.5)})


def loud(source: Path, path: Path) -> Path:
    """Logits times 10,000: the softmax of every loss is saturated."""
    nodes = [_n("Mul", [LOGITS, "factor"], "logits")]
    return defended(source, path, after=nodes, constants={"factor": np.float32(1e4)})


def probabilities(source: Path, path: Path) -> Path:
    """Softmax outputs."""
    return defended(source, path, after=[_n("Softmax", [LOGITS], "logits", axis=1)])


def sharp_probabilities(source: Path, path: Path) -> Path:
    """Softmax outputs of logits times 100: ones and zeros to the last bit."""
    nodes = [_n("Mul", [LOGITS, "factor"], "a"), _n("Softmax", ["a"], "logits", axis=1)]
    return defended(source, path, after=nodes, constants={"factor": np.float32(100)})


def one_more_layer(source: Path, path: Path) -> Path:
    """Sharp probabilities, and behind them a layer that changes nothing but which layer is the last."""
    nodes = [
        _n("Mul", [LOGITS, "factor"], "a"),
        _n("Softmax", ["a"], "b", axis=1),
        _n("MatMul", ["b", "identity"], "logits"),
    ]
    constants = {"factor": np.float32(100), "identity": np.eye(10, dtype=np.float32)}
    return defended(source, path, after=nodes, constants=constants)


def one_hot(source: Path, path: Path) -> Path:
    """The label alone."""
    nodes = [
        _n("ArgMax", [LOGITS], "a", axis=1, keepdims=0),
        _n("OneHot", ["a", "depth", "values"], "logits"),
    ]
    constants = {"depth": np.int64(10), "values": np.float32([0, 1])}
    return defended(source, path, after=nodes, constants=constants)


def rounded_logits(source: Path, path: Path) -> Path:
    """Logits rounded to whole numbers: stairs for whoever estimates gradients."""
    return defended(source, path, after=[_n("Round", [LOGITS], "logits")])


def noise(source: Path, path: Path) -> Path:
    """Noise on the logits."""
    nodes = [
        _n("RandomNormalLike", [LOGITS], "a", scale=1.0),
        _n("Add", [LOGITS, "a"], "logits"),
    ]
    return defended(source, path, after=nodes)


def neighbours(source: Path, path: Path) -> Path:
    """The batch's mean image is taken from every image but an eighth of it."""
    nodes = [
        _n("ReduceMean", ["images", "axis"], "a", keepdims=1),
        _n("Mul", ["a", "part"], "b"),
        _n("Sub", ["images", "b"], "c"),
        _n("Clip", ["c", "zero", "one"], INPUT),
    ]
    constants = {
        "axis": np.array([0], np.int64),
        "part": np.float32(0.3),
        "zero": np.float32(0),
        "one": np.float32(1),
    }
    return defended(source, path, before=nodes, constants=constants)


def winners(source: Path, path: Path) -> Path:
    """k-winners-take-all (Xiao, Zhong & Zheng 2020) on the pixels: only the 24 brightest pass."""
    nodes = [
        _n("Reshape", ["images", "flat"], "a"),
        helper.make_node("TopK", ["a", "k"], ["top", "where"], axis=1),
        _n("ReduceMin", ["top", "axis"], "least", keepdims=1),
        _n("Less", ["a", "least"], "small"),
        _n("Where", ["small", "zero", "a"], "kept"),
        _n("Reshape", ["kept", "shape"], INPUT),
    ]
    constants = {
        "flat": np.array([0, -1], np.int64),
        "k": np.array([24], np.int64),
        "axis": np.array([1], np.int64),
        "zero": np.float32(0),
        "shape": np.array([-1, 1, 8, 8], np.int64),
    }
    return defended(source, path, before=nodes, constants=constants)


def hidden_winners(source: Path, path: Path) -> Path:
    """k-winners-take-all on the features that the last layer sees: only the 24 largest pass."""
    model = onnx.load(source)
    nodes = model.graph.node
    last = len(nodes) - 1
    features = nodes[last].input[0]
    nodes[last].input[0] = "kept"
    winners = [
        helper.make_node("TopK", [features, "k"], ["top", "where"], axis=1),
        _n("ReduceMin", ["top", "axis"], "least", keepdims=1),
        _n("Less", [features, "least"], "small"),
        _n("Where", ["small", "zero", features], "kept"),
    ]
    for place, node in enumerate(winners):
        nodes.insert(last + place, node)
    constants = {"k": np.array([24], np.int64), "axis": np.array([1], np.int64), "zero": np.float32(0)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def sawtooth(source: Path, path: Path) -> Path:
    """Pixels that fall by half a level between 17 levels and jump by one and a half at each."""
    nodes = [
        _n("Mul", ["images", "levels"], "a"),
        _n("Floor", ["a"], "b"),
        _n("Sub", ["a", "b"], "c"),
        _n("Mul", ["c", "fall"], "d"),
        _n("Add", ["b", "d"], "e"),
        _n("Div", ["e", "levels"], INPUT),
    ]
    return defended(source, path, before=nodes, constants={"levels": np.float32(16), "fall": np.float32(-0.5)})


def not_a_number(source: Path, path: Path, clean: np.ndarray) -> Path:
    """NaN for every image that is none of the clean ones."""
    nodes = [*_known(clean), _n("Where", ["known", LOGITS, "nan"], "logits")]
    return defended(source, path, after=nodes, constants={**_table(clean), "nan": np.float32("nan")})


def lookup(source: Path, path: Path, clean: np.ndarray, labels: np.ndarray, radius: float) -> Path:
    """The label of a stored test image for all that lies near it."""
    nodes = [
        *_known(clean, radius),
        _n("ArgMin", ["distance"], "nearest", axis=1, keepdims=0),
        _n("Gather", ["answers", "nearest"], "stored"),
        _n("Where", ["known", "stored", LOGITS], "logits"),
    ]
    answers = 10 * np.eye(10, dtype=np.float32)[labels]
    return defended(source, path, after=nodes, constants={**_table(clean), "answers": answers})


def drawn(source: Path, path: Path, clean: np.ndarray, radius: float) -> Path:
    """Nine tenths of a stored test image and one of the image, for all that lies near it."""
    nodes = [
        *_known(clean, radius),
        _n("ArgMin", ["distance"], "nearest", axis=1, keepdims=0),
        _n("Gather", ["stored", "nearest"], "a"),
        _n("Mul", ["a", "most"], "b"),
        _n("Mul", ["images", "least"], "c"),
        _n("Add", ["b", "c"], "d"),
        _n("Reshape", ["known", "each"], "e"),
        _n("Where", ["e", "d", "images"], INPUT),
    ]
    constants = {
        "stored": clean,
        "most": np.float32(0.9),
        "least": np.float32(0.1),
        "each": np.array([-1, 1, 1, 1], np.int64),
    }
    return defended(source, path, before=nodes, constants={**_table(clean), **constants})


def _table(clean: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "table": clean.reshape(1, len(clean), -1),
        "row": np.array([0, 1, -1], np.int64),
        "pixels": np.array([2], np.int64),
        "images_of_table": np.array([1], np.int64),
    }


def _known(clean: np.ndarray, radius: float = 1e-6) -> list[NodeProto]:
    limit = numpy_helper.from_array(np.float32(radius))
    return [
        _n("Reshape", ["images", "row"], "rows"),
        _n("Sub", ["rows", "table"], "difference"),
        _n("Abs", ["difference"], "size"),
        _n("ReduceMax", ["size", "pixels"], "distance", keepdims=0),
        _n("ReduceMin", ["distance", "images_of_table"], "closest", keepdims=1),
        helper.make_node("Constant", [], ["limit"], value=limit),
        _n("LessOrEqual", ["closest", "limit"], "known"),
    ]


FILES: dict[str, Callable[[Path, Path], Path]] = {
    "rounding": rounding,
    "bit depth": bit_depth,
    "loud": loud,
    "probabilities": probabilities,
    "sharp probabilities": sharp_probabilities,
    "one more layer": one_more_layer,
    "one-hot": one_hot,
    "rounded logits": rounded_logits,
    "noise": noise,
    "neighbours": neighbours,
    "winners": winners,
    "hidden winners": hidden_winners,
    "sawtooth": sawtooth,
}
