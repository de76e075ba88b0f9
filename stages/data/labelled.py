"""Labelled images as arrays that somebody else made: their layouts, types and ranges brought to one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError
from .pixels import out_of_range

_CHANNELS, _WITH_ALPHA = (1, 3), 4


def labelled(
    images: NDArray[Any], labels: NDArray[Any], *, named: tuple[str, str] = ("images", "labels"), where: str = ""
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Images and their labels, checked.

    Args:
        images: `[N, C, H, W]`, `[N, H, W, C]` (1, 3 or 4 channels) or `[N, H, W]`, integers in [0, 255] or floats in
            [0, 1].
        labels: whole numbers `[N]` or `[N, 1]`, or one-hot `[N, K]`.
        named: how messages call the two.
        where: what stands before that, `photos.npz: `.

    Returns:
        Images `[N, C, H, W]`, uint8 or float32 in [0, 1], and labels int64 `[N]`.

    Raises:
        UsageError: they are something else, or none.
    """
    key, label_key = named
    given = f"{images.dtype} {list(images.shape)}"
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and _channels_last(images):
        images = images.transpose(0, 3, 1, 2)
    images = _in_bytes(images)
    if images.ndim != 4 or (images.dtype.kind != "f" and images.dtype != np.uint8):
        raise UsageError(
            f"{where}{key} must be uint8, or floats in [0, 1], [N, C, H, W], [N, H, W, C] or [N, H, W]; got {given}"
        )
    labels = _whole(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise UsageError(
            f"{where}{label_key} must be integers [{len(images)}], one an image, "
            f"got {labels.dtype} {list(labels.shape)}"
        )
    if not images.size:
        raise UsageError(f"{where}{key} is empty")
    _check_range(where, key, images)
    if labels.min() < 0:
        raise UsageError(f"{where}{label_key} must be 0 or more, found {labels.min()}")
    return images if images.dtype == np.uint8 else images.astype(np.float32), labels.astype(np.int64)


def in_floats(images: NDArray[Any]) -> NDArray[np.float32]:
    """Images as float32 in [0, 1], bytes divided by 255."""
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32)
    return images


def _channels_last(images: NDArray[Any]) -> bool:
    _, first, _, last = images.shape
    return first not in _CHANNELS and (last in _CHANNELS or (last == _WITH_ALPHA != first))


def _in_bytes(images: NDArray[Any]) -> NDArray[Any]:
    """Integers of another type that can be nothing but bytes: beyond 1, which floats could have been meant by."""
    wide = images.dtype.kind in "iu" and images.dtype != np.uint8 and images.size > 0
    return images.astype(np.uint8) if wide and images.min() >= 0 and 1 < images.max() <= 255 else images


def _whole(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels as `[N]` integers, where they are that in another form."""
    if labels.dtype.kind in "fiub" and labels.ndim == 2 and labels.shape[1] > 1:
        hot = np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()
        return labels.argmax(1) if hot else labels
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    whole = labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.rint(labels)).all()
    return labels.astype(np.int64) if whole else labels


def _check_range(where: str, key: str, images: NDArray[Any]) -> None:
    if images.dtype != np.uint8 and (found := out_of_range(images)):
        hint = ""
        # Else they are no bytes: a rounding, or normalised.
        if images.min() >= 0 and 2 <= images.max() <= 255:
            white = 255 if images.max() > 128 else float(images.max())
            hint = f"; divide by what stands for white first ({white:g}?)" + (
                ", or store uint8" if white == 255 else ""
            )
        elif images.min() < -0.1:
            hint = "; where they are normalised, give the pixels, and let the model normalise them"
        raise UsageError(f"{where}{key} must lie in [0, 1], found {found}{hint}")
