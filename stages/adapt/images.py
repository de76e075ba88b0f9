"""Input adapter: pixels in [0, 1], `[N, C, H, W]`, turned into what a model takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
from onnx import TensorProto

from ...core.errors import ModelError, UsageError
from ...core.reading.counted import counted
from .config import AdapterConfig, Layout
from .edit import PIXELS, Chain, in_front, per_channel, unused

_DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
    TensorProto.UINT8: "uint8",
    TensorProto.INT8: "int8",
    TensorProto.UINT16: "uint16",
    TensorProto.INT16: "int16",
    TensorProto.UINT32: "uint32",
    TensorProto.INT32: "int32",
    TensorProto.UINT64: "uint64",
    TensorProto.INT64: "int64",
}
_BYTE = 255.0
# What is said where 0 to 255 goes to a signed byte as -128 to 127, as in TFLite.
_SIGNED = 128.0
# What is said of a model that takes rows of numbers.
FLATTENED = "flattened"
_COLOURS = 3
_CHANNELS = (1, _COLOURS, 4)
_OTHER_INPUTS = "give the others initialisers in the file, or verify a function that gives them"
# How many inputs a message names.
_NAMED = 5

Dimension = int | str


# The word of an adapter that rounds.
WHOLE = "rounded to whole numbers"


def adapt_input(
    model: onnx.ModelProto, config: AdapterConfig, image_shape: tuple[int, int, int], path: Path
) -> list[str]:
    """Put what a model wants in front of it, in place.

    Args:
        model: the model, with all of its weights.
        config: what is known of it.
        image_shape: channels, height and width of the data set's images.
        path: the model's file, for messages.

    Returns:
        What was done, in words; nothing where the model takes such pixels as it is.

    Raises:
        ModelError: the model has no input for such images.
        UsageError: what is known of it contradicts it; the message begins with the option.
    """
    stored = len(model.graph.initializer)
    value = _image_input(model, config.input_name, path)
    said = [f"input {value.name}"] if len(model.graph.initializer) < stored else []
    kind = _dtype(value, config, path)
    dimensions = dimensions_of(value)
    if isinstance(dimensions[0], int) and dimensions[0] < 1:
        free_batch(value)
        for output in model.graph.output:
            free_batch(output)
        said.append(f"a batch of {dimensions[0]} read as any")
        dimensions = dimensions_of(value)
    shown = _shown(config, image_shape)
    layout, flat = _layout(dimensions, shown, config, path, value.name)
    chain = Chain(model, unused(model, PIXELS))
    said += _values(chain, config, kind, shown[0])
    if layout != "NCHW":
        chain.then("Transpose", perm=["NCHW".index(axis) for axis in layout])
        said.append(f"layout {layout}")
    if flat:
        target = [0, *(size for size in dimensions[1:])] if len(dimensions) == 3 else [0, -1]
        chain.then("Reshape", np.array([size if isinstance(size, int) else -1 for size in target], np.int64))
        said.append(FLATTENED)
    if kind != "float32":
        chain.then("Cast", to=value.type.tensor_type.elem_type)
        said.append(f"{kind} input")
    dynamic = any(not isinstance(size, int) for size in dimensions[1:])
    if chain.nodes or dynamic:
        batch = dimensions[0]
        in_front(model, chain, value.name, [batch if isinstance(batch, int) else "N", *image_shape])
        if dynamic:
            said.append(f"images of {' x '.join(map(str, image_shape))}")
    return said


def own_image_shape(model: onnx.ModelProto, config: AdapterConfig, path: Path) -> tuple[int, int, int]:
    """Channels, height and width of the images that a model takes, by its own word.

    Args:
        model: the model.
        config: what is known of it; without a layout the channels are last where only there are 1, 3 or 4 of them.
        path: its file, for messages.

    Raises:
        ModelError: it does not say.
    """
    value = _image_input(model, config.input_name, path)
    dimensions = dimensions_of(value)
    sizes = [size for size in dimensions[1:] if isinstance(size, int) and size > 0]
    if len(dimensions) != 4 or len(sizes) != 3:
        shown = ", ".join(map(str, dimensions))
        raise ModelError(f"{path}: input {value.name!r} is [{shown}], which does not say how large its images are")
    last = sizes[2] in _CHANNELS and sizes[0] not in _CHANNELS
    layout = config.layout or ("NHWC" if last else "NCHW")
    channels, height, width = (sizes[layout.index(axis) - 1] for axis in "CHW")
    return (1 if config.channels == "GREY" else channels), height, width


def dimensions_of(value: onnx.ValueInfoProto) -> tuple[Dimension, ...]:
    """Every dimension as a number, or as the name (or "?") of a free one."""
    return tuple(
        dimension.dim_value if dimension.HasField("dim_value") else dimension.dim_param or "?"
        for dimension in value.type.tensor_type.shape.dim
    )


def free_batch(value: onnx.ValueInfoProto) -> None:
    """Let the first dimension be any, where it is a number that no batch has."""
    sizes = value.type.tensor_type.shape.dim
    if sizes and sizes[0].HasField("dim_value") and sizes[0].dim_value < 1:
        sizes[0].dim_param = "N"


def _image_input(model: onnx.ModelProto, name: str | None, path: Path) -> onnx.ValueInfoProto:
    stored = {tensor.name for tensor in model.graph.initializer}
    every = {value.name: value for value in model.graph.input}
    open_ones = [value for value in model.graph.input if value.name not in stored]
    if name is not None:
        if name not in every:
            raise UsageError(f"--input-name: {path} has no input {name!r} (it has: {', '.join(every)})")
        others = [value.name for value in open_ones if value.name != name]
        if others:
            raise ModelError(
                f"{path}: needs values for its other inputs as well ({', '.join(others)}); {_OTHER_INPUTS}"
            )
        for place in [place for place, tensor in enumerate(model.graph.initializer) if tensor.name == name]:
            del model.graph.initializer[place]
        return every[name]
    if every and not open_ones:
        names = [name for name, value in every.items() if len(dimensions_of(value)) > 1]
        raise ModelError(
            f"{path}: all of its inputs have values of their own; name the one that takes the images with "
            f"--input-name: {', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"
        )
    if len(open_ones) != 1:
        names = ", ".join(value.name for value in open_ones) or "none"
        raise ModelError(
            f"{path}: an image classifier has one input, this model has {len(open_ones)} ({names}); {_OTHER_INPUTS}"
        )
    return open_ones[0]


def _dtype(value: onnx.ValueInfoProto, config: AdapterConfig, path: Path) -> str:
    if value.type.WhichOneof("value") not in (None, "tensor_type"):
        what = str(value.type.WhichOneof("value")).removesuffix("_type")
        raise ModelError(f"{path}: input {value.name!r} is no tensor ({what}); images are one, [N, C, H, W]")
    kind = int(value.type.tensor_type.elem_type)
    if kind not in _DTYPES:
        known = onnx.TensorProto.DataType.Name(kind) if kind in onnx.TensorProto.DataType.values() else str(kind)
        raise ModelError(f"{path}: input {value.name!r} is {known}; images are {', '.join(_DTYPES.values())}")
    found = _DTYPES[kind]
    if config.input_dtype not in (None, found):
        raise UsageError(f"--input-dtype {config.input_dtype}: input {value.name!r} of {path} is {found}; leave it out")
    if _is_whole(found) and found != "uint8" and config.input_dtype is None:
        # It may as well take the numbers of words.
        pixels = "-128 to 127" if found == "int8" else "0 to 255"
        raise ModelError(
            f"{path}: input {value.name!r} is {found}; say --input-dtype {found} if it takes pixels from {pixels}"
        )
    return found


def _is_whole(kind: str) -> bool:
    return "int" in kind


def _shown(config: AdapterConfig, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The images `[C, H, W]` that the model is shown: those of the data set, or their one channel three times."""
    channels, height, width = image_shape
    if config.channels != "GREY":
        return image_shape
    if channels != 1:
        raise UsageError(f"--channels GREY: the images have {channels} channels already; leave it out")
    return _COLOURS, height, width


def _layout(
    dimensions: Sequence[Dimension], image_shape: tuple[int, int, int], config: AdapterConfig, path: Path, name: str
) -> tuple[Layout, bool]:
    """The order of the axes, and whether images are rows of numbers (or have no axis for their one channel)."""
    shown, hint = f"[{', '.join(map(str, dimensions))}]", ""
    channels, height, width = image_shape
    axes: dict[Layout, tuple[int, ...]] = {layout: sizes_in(layout, image_shape) for layout in get_args(Layout)}
    if config.flatten and len(dimensions) != 2:
        raise UsageError(f"--flatten: input {name!r} of {path} is {shown}, which is no row of numbers; leave it out")
    if len(dimensions) == 4:
        fitting = [layout for layout, sizes in axes.items() if _fits(dimensions[1:], sizes)]
        if config.layout is not None and config.layout not in fitting:
            expected = ", ".join(map(str, ("N", *axes[config.layout])))
            way = f"; its shape says {fitting[0]}" if fitting else ""
            raise UsageError(f"--layout {config.layout}: input {name!r} of {path} is {shown}, not [{expected}]{way}")
        usual: list[Layout] = [layout for layout in fitting if layout in ("NCHW", "NHWC")]
        if config.layout is not None or usual:
            return config.layout or usual[0], False
        coloured = (_COLOURS, height, width)
        if channels == 1 and any(_fits(dimensions[1:], sizes_in(each, coloured)) for each in ("NCHW", "NHWC")):
            hint = "; say --channels GREY to show the model their one channel three times"
        if fitting:
            hint = f"; say --layout {fitting[0]} if these lie on their side in the model"
    elif len(dimensions) == 2 and _fits(dimensions[1:], (channels * height * width,)):
        return config.layout or "NCHW", True
    elif len(dimensions) == 3 and channels == 1:
        layout: Layout = config.layout or "NCHW"
        if _fits(dimensions[1:], sizes_in(layout.replace("C", ""), image_shape)):
            return layout, True
    raise ModelError(f"{path}: its images are {shown}, those of the data set [N, {channels}, {height}, {width}]{hint}")


def sizes_in(layout: str, image_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """The sizes of images `[C, H, W]` in an order of axes, such as NHWC."""
    sizes = dict(zip("CHW", image_shape, strict=True))
    return tuple(sizes[axis] for axis in layout[1:])


def _fits(dimensions: Sequence[Dimension], sizes: Sequence[int]) -> bool:
    return all(not isinstance(found, int) or found == size for found, size in zip(dimensions, sizes, strict=True))


def _values(chain: Chain, config: AdapterConfig, kind: str, channels: int) -> Iterator[str]:
    """The nodes on the pixels' values, and what they do in words."""
    whole = _is_whole(kind)
    scale = config.scale or (_BYTE if whole else 1.0)
    mean, std = config.normalization()
    for option, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            said = option if config.normalize is None else f"normalize {config.normalize}"
            raise UsageError(
                f"--{said}: has {len(values)} numbers, the images have {counted(channels, 'channel')}; say "
                "--mean and --std of one number each, or of one a channel"
            )
    if whole and (any(mean) or any(value != 1 for value in std)):
        raise UsageError(
            "--normalize, --mean, --std: the model takes whole numbers and normalises itself; leave them out"
        )
    if config.channels == "BGR":
        if channels != _COLOURS:
            raise UsageError(f"--channels BGR: the images have {channels} channels, not {_COLOURS}")
        chain.then("Gather", np.array([2, 1, 0], np.int64), axis=1)
        yield "channels BGR"
    elif config.channels == "GREY":
        chain.then("Gather", np.zeros(channels, np.int64), axis=1)
        yield f"one channel shown {channels} times"
    if scale != 1:
        chain.then("Mul", np.float32(scale))
        yield f"scale {scale:g}"
    if any(mean):
        chain.then("Sub", per_channel(mean, channels))
        yield f"mean {_listed(mean)}"
    if any(value != 1 for value in std):
        chain.then("Div", per_channel(std, channels))
        yield f"std {_listed(std)}"
    if whole:
        # Half up, in whatever opset; a cast alone would cut off.
        chain.then("Add", np.float32(0.5))
        chain.then("Floor")
        chain.clip(0, min(_BYTE if "8" in kind else float(np.iinfo(kind).max), np.floor(scale + 0.5)))
        yield WHOLE
        if kind == "int8" and scale == _BYTE:
            chain.then("Sub", np.float32(_SIGNED))
            yield f"less {_SIGNED:g}"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
