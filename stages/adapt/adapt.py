"""Model adapter: a foreign ONNX classifier with nodes around it, pixels in [0, 1] in and logits out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from onnx import TensorProto

from ...core.errors import ModelError, StageError, reason_of
from ...core.memory import half_the_memory
from ...core.onnx_reader import check, read_onnx
from ...targets.onnxruntime.every_output import EveryOutput
from ...targets.process.own_process import FIRST_ANSWER, OwnProcess
from .config import AdapterConfig
from .edit import declare_opset, unzip
from .images import WHOLE, adapt_input, own_image_shape
from .logits import LABELS, adapt_output, fit_columns
from .order import sort_nodes
from .own_classes import note_classes
from .rounds import note_eight_bits
from .shapes import say_shapes

_PROBES = 32
# Protobuf's limit; what is larger keeps its weights beside it.
_INLINE = 2**31 - 2**20


@dataclass(frozen=True)
class Adapted:
    """An adapted model.

    Attributes:
        model: with all of its weights.
        words: what stands around it.
        identity: what it was made from, as JSON-able data.
        others: whether it may answer with more classes, which stand behind those of the data set.
    """

    model: onnx.ModelProto
    words: tuple[str, ...]
    identity: Mapping[str, Any]
    others: bool

    def save(self, path: Path) -> None:
        """Write it, the weights of a large one into a file beside it."""
        large = self.model.ByteSize() > _INLINE
        onnx.save(self.model, path, save_as_external_data=large, location=f"{path.name}.data")


def adapt(
    path: Path,
    config: AdapterConfig,
    image_shape: tuple[int, int, int],
    classes: int,
    images: np.ndarray,
    *,
    columns: int = 0,
) -> Adapted | None:
    """Adapt an ONNX file to a data set.

    Args:
        path: the file.
        config: what is known of it.
        image_shape: channels, height and width of the data set's images.
        classes: how many it has.
        images: some of its images, float32 `[M, C, H, W]` in [0, 1]: what cannot be seen from the file is seen from
            the answers to them.
        columns: how many logits there are to be, those of the data set's classes first; 0 for as many as it has.

    Returns:
        None where the model takes such images and answers with such logits as it is.

    Raises:
        ModelError: it is no classifier of such images.
        UsageError: what is known of it contradicts it; the message begins with the option.
    """
    model = read_onnx(path)
    moved = sort_nodes(model.graph)
    said = say_shapes(model, rows=config.flatten)
    check(model, path)
    words = [*(["nodes sorted"] if moved else []), *(["shapes inferred"] if said else [])]
    declare_opset(model)
    if unzip(model):
        words.append("numbers instead of dictionaries")
    words += adapt_input(model, config, image_shape, path)
    if WHOLE in words:
        note_eight_bits(model)
    from ..twin.batch import written_batch  # with torch, which `lint` does without

    if not _batch(model).dim_value and written_batch(model.graph) and not _answers_each(model, images, path):
        _batch(model).dim_value = 1
        words.append("one image at a time")
    if not _says_enough(model, config):
        some, batch = _some(images), _batch(model).dim_value
        answers = _answers(model, some, batch, path)
        words += adapt_output(model, config, answers, batch or len(some), classes, path)
    if columns and fit_columns(model, columns):
        words.append(f"{columns} logits")
    if not words:
        return None
    about = {"columns": columns, "image_shape": list(image_shape), "classes": classes, "words": words}
    mapped = {} if config.label_map is None else {"label_map": config.label_map.read_text()}
    others = config.classes_offset > 0 or config.label_map is not None or columns > classes
    others |= LABELS in words or config.masked_classes
    if others:
        note_classes(model, classes)
    return Adapted(model, tuple(words), {**config.model_dump(mode="json"), **mapped, **about}, others)


def adapt_to_itself(path: Path, config: AdapterConfig) -> Adapted | None:
    """Adapt an ONNX file to images of the shape that it says itself, for what needs no data set; see `adapt`.

    Its answers are left as they are, as far as they are one row an image.
    """
    shape = own_image_shape(read_onnx(path, weights=False), config, path)
    noise = np.random.default_rng(0).random((_PROBES, *shape), np.float32)
    return adapt(path, config.model_copy(update={"classes_offset": 0, "label_map": None}), shape, 0, noise)


def _says_enough(model: onnx.ModelProto, config: AdapterConfig) -> bool:
    """Whether the file itself says that it answers with logits, and there is nothing else to do."""
    if config.output_name is not None or config.classes_offset or config.label_map is not None:
        return False
    if config.masked_classes:
        return False
    if len(model.graph.output) != 1:
        return False
    tensor = model.graph.output[0].type.tensor_type
    sizes = tensor.shape.dim
    return tensor.elem_type == TensorProto.FLOAT and len(sizes) == 2 and sizes[1].dim_value > 1


def _batch(model: onnx.ModelProto) -> onnx.TensorShapeProto.Dimension:
    """The batch size of the model's input, whose value is 0 where it is free."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return next(value.type.tensor_type.shape.dim[0] for value in model.graph.input if value.name not in stored)


def _answers_each(model: onnx.ModelProto, images: np.ndarray, path: Path) -> bool:
    """Whether a batch is answered with a row for each of its images."""
    some = _some(images)
    try:
        return all(each.shape[:1] == (len(some),) for each in _answers(model, some, 0, path).values())
    except ModelError:
        return False


def _some(images: np.ndarray) -> np.ndarray:
    """A few images from all over: data sets are often sorted by class."""
    return images[:: max(1, len(images) // _PROBES)][:_PROBES]


def _answers(model: onnx.ModelProto, images: np.ndarray, batch: int, path: Path) -> Mapping[str, np.ndarray]:
    first = FIRST_ANSWER * max(batch, 1)
    try:
        opener = partial(EveryOutput, model.SerializeToString())
        # A process of its own: it may never answer, or take all memory.
        with closing(OwnProcess(opener, first=first, memory=half_the_memory())) as ask:
            ask(images[:1])
            found = ask(images)
    except (StageError, EncodeError, ValueError) as error:
        raise ModelError(f"{path}: ONNX Runtime cannot run it: {reason_of(error)}") from None
    # What is optional comes as a tensor, and nodes take it for none.
    tensors = {value.name for value in model.graph.output if value.type.WhichOneof("value") in (None, "tensor_type")}
    return {name: each for name, each in found.items() if name in tensors}
