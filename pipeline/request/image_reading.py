"""Image files read as another model's images: grey, of another size."""

from __future__ import annotations

from pathlib import Path

from ...core.onnx_reader import read_onnx
from ...stages.data import Dataset


def other_reading(model: Path, data: Dataset) -> str:
    """Say by which options image files are read as the images that an ONNX file takes.

    Args:
        model: the ONNX file.
        data: the data set.

    Returns:
        the end of a message; empty where they are of that size already, or nothing helps. Arrays can be turned grey by
        their owner alone.
    """
    graph = read_onnx(model, weights=False).graph
    held = {tensor.name for tensor in graph.initializer}
    channels, *sides = data.image_shape
    for value in graph.input:
        sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
        if value.name in held or len(sizes) != 4:
            continue
        for theirs, size in ((sizes[1], sizes[2:]), (sizes[3], sizes[1:3])):
            if theirs == 1 < channels and data.files_digest is None and size in (sides, [0, 0]):
                return f"; the model takes grey images, make those of {data.name} grey"
            if theirs in (1, channels) and data.files_digest is not None:
                grey = " --grey" if theirs < channels else ""
                sized = f" --image-size {size[0]}x{size[1]}" if size != sides and all(size) else ""
                return f"; read the image files with{grey}{sized}" if grey or sized else ""
    return ""
