"""Output adapter: a model's answers turned into logits `[N, K]`, one column a class of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from ...core.errors import ModelError, UsageError
from .config import AdapterConfig
from .edit import Chain, behind

# The logit of a class that there is none of.
NEVER = -1e4
# Of models with masked classes: an image whose logits are all below it is answered wrongly.
LOWEST = NEVER / 2
_BEFORE = "export the logits before that, or verify a function that puts them in the order of the classes"
# What is said of a model that answers with labels.
LABELS = "labels"
# What scores may be without a DequantizeLinear, as from TFLite: what they are multiples of changes no label.
_QUANTIZED = (np.int8, np.uint8)
_PLAIN = {
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast"),
    *("QuantizeLinear", "DequantizeLinear"),
}


def adapt_output(
    model: onnx.ModelProto,
    config: AdapterConfig,
    answers: Mapping[str, np.ndarray],
    images: int,
    classes: int,
    path: Path,
) -> list[str]:
    """Put what makes logits of a model's answers behind it, in place.

    Args:
        model: the model; its input is adapted already.
        config: what is known of it.
        answers: its answers to some images, by its outputs' names; those of outputs that are no tensors are left out.
        images: how many it was shown.
        classes: of the data set.
        path: the model's file, for messages.

    Returns:
        What was done, in words; nothing where the model answers with such logits as it is.

    Raises:
        ModelError: nothing of what it answers can be logits.
        UsageError: what is known of it contradicts it; the message begins with the option.
    """
    columns = columns_of(config, classes)
    # Of one image; exporters' `squeeze` takes away the axis of a batch of one.
    bare = {name for name, each in answers.items() if images == 1 and each.shape[:1] != (1,)}
    answers = {name: each.reshape(1, -1) if name in bare else each for name, each in answers.items()}
    # A row a class instead of an image.
    turned = {name for name, each in answers.items() if 1 < classes != images > 1 and each.shape == (classes, images)}
    answers = {name: each.T if name in turned else each for name, each in answers.items()}
    name = _chosen(model, config, answers, classes, path)
    found = answers[name]
    chain, said = Chain(model, name), [f"output {name}"] if len(model.graph.output) > 1 else []
    if name in turned:
        chain.then("Transpose", perm=[1, 0])
        said.append("a row a class turned")
    if name in bare:
        chain.then("Flatten", axis=0)
        said.append("no axis of the batch")
    if _are_labels(found, classes):
        # One more for what is none of the classes, which is then wrong whatever is right.
        wide = max([int(found.max(initial=0)), *columns]) + 2
        _labels(chain, found, wide)
        said.append(LABELS)
    else:
        if config.masked_classes:
            _refuse_low(found, path)
        wide = _scores(model, chain, config, found, classes, said)
        if wide == 1 < classes:
            raise ModelError(
                f"{path}: output {name!r} is one number an image; of {classes} classes it can be nothing but their "
                "number, which is whole"
            )
    if config.label_map is not None or config.classes_offset:
        if max(columns) >= wide:
            option = "--classes-offset" if config.label_map is None else "--label-map"
            raise UsageError(f"{option}: reaches beyond the {wide} classes of output {name!r} of {path}")
        # The model's other classes stay, behind those of the data set: who answers with one of them is wrong.
        others = [column for column in range(wide) if column not in columns]
        chain.then("Gather", np.array([*columns, *others], np.int64), axis=1)
        said.append(f"classes {_ranges(columns)} of {wide} first")
    if config.masked_classes and LABELS not in said:
        # Where no class is above those that stand for -inf, one is that is none of them, so that no tie is right.
        chain.then("MatMul", np.eye(wide, wide + 1, dtype=np.float32))
        wide += 1
        chain.then("Add", np.where(np.arange(wide) < wide - 1, np.float32(0), np.float32(LOWEST)))
    if not _static(model, wide):
        said.append(f"{wide} classes")
    if said:
        behind(model, chain, ["N", wide])
    return said


def columns_of(config: AdapterConfig, classes: int) -> list[int]:
    """The model's number of each class of the data set.

    Raises:
        UsageError: the label map is missing or none.
    """
    if config.label_map is None:
        return [config.classes_offset + each for each in range(classes)]
    path = config.label_map
    try:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        numbers = [int(line) for line in lines]
    except OSError as error:
        raise UsageError(f"--label-map {path}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"--label-map {path}: needs a whole number a line, the model's number of that class") from None
    if len(numbers) != classes or len(set(numbers)) != classes or min(numbers) < 0:
        raise UsageError(f"--label-map {path}: needs {classes} different numbers from 0 on, a line for each class")
    return [config.classes_offset + number for number in numbers]


def _chosen(
    model: onnx.ModelProto, config: AdapterConfig, answers: Mapping[str, np.ndarray], classes: int, path: Path
) -> str:
    names = [output.name for output in model.graph.output]
    if config.output_name is not None:
        if config.output_name not in names:
            raise UsageError(f"--output-name: {path} has no output {config.output_name!r} (it has: {', '.join(names)})")
        if config.output_name not in answers:
            raise UsageError(f"--output-name: output {config.output_name!r} of {path} is no tensor")
        if not _may_answer(answers[config.output_name]):
            raise UsageError(f"--output-name: {_shown(config.output_name, answers)} of {path} is no row of logits")
        _refuse_best_first(config.output_name, answers, path)
        return config.output_name
    rows = {name: found for name, found in answers.items() if _may_answer(found)}
    labels = [name for name, found in rows.items() if _are_labels(found, classes)]
    scores = [name for name in rows if name not in labels]
    sizes = {name: int(np.prod(answers[name].shape[1:], dtype=int)) for name in scores}
    exact = [name for name in scores if sizes[name] == classes]
    wide = [name for name in scores if sizes[name] >= classes]
    fitting = exact or wide or scores or labels
    if len(fitting) == 1:
        _refuse_best_first(fitting[0], answers, path)
        return fitting[0]
    listed = ", ".join(_shown(name, answers) for name in names)
    if not fitting:
        several = [name for name, found in answers.items() if found.dtype.kind in "iu" and found.ndim == 2]
        hint = f"; the whole numbers of {several[0]!r} may be the best classes (top-k): {_BEFORE}" if several else ""
        raise ModelError(f"{path}: none of its outputs is a row of logits an image ({listed}){hint}")
    raise UsageError(f"{path}: has several outputs, name the logits with --output-name: {listed}")


def _may_answer(found: np.ndarray) -> bool:
    """Whether there is one row an image, which may have axes of one number: `[N, K, 1, 1]`."""
    row = found.ndim >= 1 and sum(size > 1 for size in found.shape[1:]) <= 1
    return row and (found.dtype.kind == "f" or found.dtype in _QUANTIZED or _are_labels(found))


def _are_labels(found: np.ndarray, classes: int = 0) -> bool:
    """Whether there is a whole number an image; a float that is one may be a logit where there are two classes."""
    whole = found.dtype.kind in "iu" or (
        classes > 2 and found.dtype.kind == "f" and bool((found == found.round()).all())
    )
    return whole and found.ndim >= 1 and int(np.prod(found.shape[1:], dtype=int)) == 1


def _refuse_best_first(name: str, answers: Mapping[str, np.ndarray], path: Path) -> None:
    """Refuse the scores of a TopK: they stand by rank, and another output says of which classes they are."""
    found = answers[name]
    if found.ndim != 2 or found.shape[1] < 2 or (np.diff(found.astype(np.float64), axis=1) > 0).any():
        return
    for other, places in answers.items():
        if places.dtype.kind in "iu" and places.shape == found.shape:
            raise ModelError(
                f"{path}: output {name!r} is of the {found.shape[1]} best classes by rank, which {other!r} names "
                f"(top-k); {_BEFORE}"
            )


def _shown(name: str, answers: Mapping[str, np.ndarray]) -> str:
    if name not in answers:
        return f"{name} (no tensor)"
    return f"{name} [{', '.join(map(str, ('N', *answers[name].shape[1:])))}]"


def _scores(
    model: onnx.ModelProto, chain: Chain, config: AdapterConfig, found: np.ndarray, classes: int, said: list[str]
) -> int:
    """Rows of float32 from whatever scores there are; return how many stand in one, and add to what is `said`."""
    if found.dtype != np.float32:
        chain.then("Cast", to=TensorProto.FLOAT)
        said.append(f"{found.dtype} output")
    wide = int(np.prod(found.shape[1:], dtype=int))
    if found.ndim != 2:
        chain.then("Flatten", axis=1)
        said.append(f"output {list(found.shape[1:])} flattened")
    if config.masked_classes:
        chain.then("Max", np.float32(NEVER))
        said.append("masked classes")
    if wide == 1 and classes == 2:
        said.append(_binary(model, chain, found))
        wide = 2
    return wide


def _refuse_low(found: np.ndarray, path: Path) -> None:
    """Refuse logits of masked classes' models that would be taken for -inf."""
    best = float(found.reshape(len(found), -1).max(1).min())
    if np.isfinite(best) and best <= LOWEST:
        raise ModelError(
            f"{path}: the largest of an image's logits is {best:g}, where {NEVER:g} stands for -inf "
            "(--masked-classes); add a constant to all of them, or verify a function"
        )


def _labels(chain: Chain, found: np.ndarray, depth: int) -> None:
    """One-hot rows of labels; the last column is for what is beyond, or below 0."""
    if found.ndim > 1:
        chain.then("Reshape", np.array([-1], np.int64))
    chain.then("Cast", to=TensorProto.FLOAT)
    chain.clip(-1, depth - 1)  # -1 is the last column
    chain.then("Cast", to=TensorProto.INT64)
    chain.then("OneHot", np.array([depth], np.int64), np.array([0, 1], np.float32), axis=-1)


def _binary(model: onnx.ModelProto, chain: Chain, found: np.ndarray) -> str:
    """Two columns from one number: the second class has the larger one where the model says so."""
    probability = _is_squashed(model, chain.nodes[0].input[0] if chain.nodes else chain.name)
    if found.ndim == 1:
        chain.then("Reshape", np.array([-1, 1], np.int64))
    if probability:
        chain.then("Sub", np.float32(0.5))
    score = chain.name
    chain.then("Neg")
    chain.join("Concat", [chain.name, score], axis=1)
    return "one probability, of the second class" if probability else "one logit, of the second class"


def _is_squashed(model: onnx.ModelProto, name: str) -> bool:
    """Whether a value is a sigmoid's, behind nodes that change nothing of it."""
    makers = {output: node for node in model.graph.node for output in node.output}
    while name in makers and makers[name].op_type in _PLAIN:
        name = makers[name].input[0]
    return name in makers and makers[name].op_type in ("Sigmoid", "HardSigmoid", "QLinearSigmoid")


def _static(model: onnx.ModelProto, classes: int) -> bool:
    """Whether the file itself says how many classes there are."""
    sizes = model.graph.output[0].type.tensor_type.shape.dim
    return len(sizes) == 2 and sizes[1].dim_value == classes


def _ranges(columns: Sequence[int]) -> str:
    first, last = columns[0], columns[-1]
    return f"{first} to {last}" if list(columns) == list(range(first, last + 1)) else ", ".join(map(str, columns))


def fit_columns(model: onnx.ModelProto, columns: int) -> bool:
    """Give a model beside another as many logits as that one has, in place.

    Args:
        model: its only output is `[N, K]`, the data set's classes first.
        columns: how many there are to be: those that it lacks are never the largest, those that it has more go.

    Returns:
        whether there were more or fewer.
    """
    output = model.graph.output[0]
    found = output.type.tensor_type.shape.dim[1].dim_value
    if found == columns:
        return False
    chain = Chain(model, output.name)
    chain.then("MatMul", np.eye(found, columns, dtype=np.float32))
    chain.then("Add", np.where(np.arange(columns) < found, np.float32(0), np.float32(NEVER)))
    behind(model, chain, ["N", columns])
    return True
