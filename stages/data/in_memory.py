"""Data set in memory: numpy arrays, torch tensors, or what yields pairs of image and label, as test images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...core.errors import EdgeproofError, UsageError, raised, reason_of
from .base import Dataset, Split
from .contract import checked
from .labelled import in_floats, labelled

NAME = "arrays"


def dataset_in_memory(images: Any, labels: Any = None, class_names: Sequence[str] | None = None) -> Dataset:
    """Test images that were handed over as Python objects; nothing of them is changed or shared.

    Args:
        images: arrays or tensors `[N, C, H, W]`, `[N, H, W, C]` or `[N, H, W]`, uint8 or floats in [0, 1]; or, without
            labels, a DataLoader or Dataset, of torch or of MAITE, which is read from its first pair to its last.
        labels: whole numbers `[N]`, or one-hot `[N, K]`.
        class_names: of all classes; those of the DataLoader or Dataset (`classes`, `metadata["index2label"]`) where
            left out, then the numbers up to the highest label.

    Raises:
        UsageError: they are something else, or none; names the argument.
    """
    if labels is None:
        if _is_array(images):
            raise UsageError("labels: are needed beside images, one whole number an image")
        class_names = _names_of(images) if class_names is None else class_names
        images, labels = _collected(images)
    elif not _is_array(images):
        raise UsageError(f"labels: images is a {_kind(images)}, which has its labels in it; leave labels out")
    pixels, numbers = labelled(_array(images, "images"), _array(labels, "labels"))
    highest = int(numbers.max())
    names = tuple(map(str, range(max(highest, 1) + 1) if class_names is None else class_names))
    if highest >= len(names):
        raise UsageError(f"class_names are {len(names)}, and there is a label {highest}")
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"class_names: must be two or more, each another, got {list(names)}")
    test = Split(in_floats(pixels).copy(), numbers.copy(), np.arange(len(numbers)))
    nothing = test.take(slice(0, 0))
    return checked(Dataset(NAME, names, nothing, nothing, test), "images")


def _is_array(value: Any) -> bool:
    return isinstance(value, list | tuple) or hasattr(value, "__array__") or value is None


def _array(value: Any, name: str) -> NDArray[Any]:
    """What numpy makes of it; of a tensor its values, wherever and however it lies."""
    try:
        if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor):
            return np.stack([_array(each, name) for each in value])
        if isinstance(value, Tensor):
            value = value.detach().cpu()
            value = value.float() if value.is_floating_point() else value  # of bfloat16 numpy knows nothing
        array = np.asarray(value)
    except EdgeproofError:
        raise
    except Exception as error:  # theirs may fail in any way
        raise UsageError(f"{name}: cannot be read as one array: {reason_of(error)}") from None
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{name}: must be numbers, got {array.dtype} {list(array.shape)}")
    return array


def _names_of(source: Any) -> Sequence[str] | None:
    """The classes' names, where a data set tells them as torchvision's do, or MAITE's."""
    source = getattr(source, "dataset", source)
    metadata = getattr(source, "metadata", None)
    known = metadata.get("index2label") if isinstance(metadata, Mapping) else None
    if isinstance(known, Mapping) and set(known) == set(range(len(known))):
        return [str(known[number]) for number in range(len(known))]
    classes = getattr(source, "classes", None)
    return classes if isinstance(classes, list | tuple) and classes else None


def _collected(source: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """All images and labels of what yields pairs of them, or batches of pairs."""
    _refuse_shuffled(source)
    images, labels = [], []
    try:
        for pair in _pairs(source):
            if not isinstance(pair, list | tuple) or len(pair) < 2:
                raise UsageError(f"images: a {_kind(source)} must yield pairs of image and label, got a {_kind(pair)}")
            image, label = _array(pair[0], "images"), _array(pair[1], "labels")
            alone = image.ndim < 4
            images.append(image[None] if alone else image)
            labels.append(label[None] if alone else label)
    except EdgeproofError:
        raise
    except Exception as error:  # theirs may fail in any way
        raise UsageError(f"images: reading the {_kind(source)} {raised(error)}") from None
    if not images:
        raise UsageError(f"images: the {_kind(source)} yields none")
    shapes = {each.shape[1:] for each in images}
    if len(shapes) > 1:
        raise UsageError(f"images: must have one shape, got {' and '.join(str(list(shape)) for shape in shapes)}")
    return np.concatenate(images), np.concatenate(labels)


def _pairs(source: Any) -> Iterator[Any]:
    # A map-style data set need not end by itself when it is iterated over.
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return (source[number] for number in range(len(source)))
    if not isinstance(source, Iterable):
        raise UsageError(f"images: must be arrays, tensors, a DataLoader or a Dataset, got {_kind(source)}")
    return iter(source)


def _refuse_shuffled(source: Any) -> None:
    from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

    if getattr(source, "drop_last", False):
        raise UsageError("images: the DataLoader drops the last batch; give drop_last=False, or its dataset")
    samplers = [getattr(each, "sampler", None) for each in (source, getattr(source, "batch_sampler", None))]
    if any(isinstance(each, RandomSampler | SubsetRandomSampler | WeightedRandomSampler) for each in samplers):
        raise UsageError(
            "images: the DataLoader shuffles, so that a row is another image every time; give shuffle=False, or its "
            "dataset"
        )


def _kind(value: Any) -> str:
    return type(value).__name__
