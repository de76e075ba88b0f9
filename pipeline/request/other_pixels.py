"""Other pixels that a model may want: usual normalisations, blue first, other layouts, as `verify` says them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import get_args

import numpy as np

from ...stages.adapt import FLATTENED, Adapted, AdapterConfig, Layout, sizes_in
from ...stages.plausibility import CAFFE, Images, Variant, normalized, usual_pixels

_USUAL = {
    ((0.5,), (0.5,)): "--normalize half",
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)): "--normalize imagenet",
    ((0.0,), (1 / 255,)): "--scale 255",
}


@dataclass(frozen=True)
class _Choice:
    """One of the things that an adapter does, done in one way.

    Attributes:
        said: its options, by whether the model's channels are blue first; no words where it is left as it is.
        turned: what it does to images `[N, C, H, W]`.
    """

    said: Callable[[bool], str]
    turned: Callable[[Images], Images]


_AS_IT_IS = _Choice(lambda _: "", lambda images: images)
_BLUE_FIRST = _Choice(lambda _: "--channels BGR", lambda images: images[:, ::-1])


def usual_variants(images: Images, adapter: AdapterConfig, around: Adapted | None = None) -> Iterator[Variant]:
    """Other pixels that a model may want, as the options of `verify` say them, alone and together.

    Args:
        images: of the data set, in [0, 1].
        adapter: what the user has said of the model, which is not contradicted.
        around: what was put around the model, if anything.
    """
    values = [_AS_IT_IS, *_values(images, adapter)]
    channels = [_AS_IT_IS, *([_BLUE_FIRST] if images.shape[1] == 3 and adapter.channels == "RGB" else [])]
    layouts = [_AS_IT_IS, *(_layouts(images.shape[1:], around) if adapter.layout is None else [])]
    for choices in product(values, channels, layouts):
        said = [each.said(_BLUE_FIRST in choices) for each in choices if each is not _AS_IT_IS]
        if said:
            yield Variant(" ".join(said), partial(_one_by_one, [each.turned for each in choices]), len(said))


def _values(images: Images, adapter: AdapterConfig) -> Iterator[_Choice]:
    known = (adapter.scale, adapter.mean, adapter.std, adapter.normalize)
    if any(value is not None for value in known):
        # What the adapter does, undone before it: the model's own pixels are those of the data set.
        scale, (mean, std) = adapter.scale or 1.0, adapter.normalization()
        if adapter.channels == "BGR":
            mean, std = mean[::-1], std[::-1]
        undone = partial(_undone, scale=scale, mean=mean, std=std)
        yield _Choice(lambda _: "no --scale, --mean, --std or --normalize", undone)
        return
    for mean, std in usual_pixels(images):
        yield _Choice(partial(_said, mean, std), partial(normalized, mean=mean, std=std))


def _said(mean: tuple[float, ...], std: tuple[float, ...], blue_first: bool) -> str:
    """The options of a mean and std in the data set's order of channels; options have them in the model's own."""
    if (mean, std) in _USUAL:
        return _USUAL[mean, std]
    scaled = mean == tuple(value / 255 for value in CAFFE)
    words = ["--scale 255"] if scaled else []
    for option, values in [("mean", CAFFE)] if scaled else [("mean", mean), ("std", std)]:
        words.append(f"--{option} {','.join(f'{value:g}' for value in (values[::-1] if blue_first else values))}")
    return " ".join(words)


def _layouts(shape: tuple[int, ...], around: Adapted | None) -> Iterator[_Choice]:
    """The orders of axes that the model's input fits as well as the one that was taken for its own."""
    image = shape[0], shape[1], shape[2]
    words = () if around is None else around.words
    taken: Layout = next((layout for layout in get_args(Layout) if f"layout {layout}" in words), "NCHW")
    here = _places(image, taken)
    seen = {tuple(here)}
    for layout in get_args(Layout):
        there = _places(image, layout)
        fits = FLATTENED in words or sizes_in(layout, image) == sizes_in(taken, image)
        if fits and tuple(there) not in seen:
            seen.add(tuple(there))
            # Behind the adapter, which puts number here[i] in the i-th place, stands there[i].
            source = np.empty_like(there)
            source[here] = there
            yield _Choice(partial(_layout_said, layout), partial(_rearranged, source=source))


def _layout_said(layout: Layout, _: bool) -> str:
    return f"--layout {layout}"


def _places(image: tuple[int, int, int], layout: Layout) -> np.ndarray:
    """The numbers of an image `[C, H, W]`, counted in its own order, as a row in another."""
    return np.arange(np.prod(image)).reshape(image).transpose(["CHW".index(axis) for axis in layout[1:]]).reshape(-1)


def _rearranged(images: Images, source: np.ndarray) -> Images:
    return images.reshape(len(images), len(source))[:, source].reshape(images.shape)


def _one_by_one(steps: list[Callable[[Images], Images]], images: Images) -> Images:
    for step in steps:
        images = step(images)
    return images


def _undone(images: Images, scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> Images:
    shift, width = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (mean, std))
    return (images * width + shift) / np.float32(scale)
