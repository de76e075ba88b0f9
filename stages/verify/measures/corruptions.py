"""Common corruptions: what cameras do to images, at five published severities.

Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(arXiv 1903.12261). Operations and constants are those of the authors' scripts that made CIFAR-10-C (`make_cifar_c.py`;
here for images of up to 64 pixels) and ImageNet-C (`make_imagenet_c.py`; for larger ones), by the libraries that the
scripts call: numpy, SciPy (which scikit-image's `gaussian` calls), Pillow. Left out is what needs ImageMagick or OpenCV
(motion blur, snow, spatter, elastic), photographs (frost), or is a drawing program of its own (fog, glass, zoom).
The package `imagecorruptions` has them all, but refuses images of fewer than 32 pixels, and its last release (1.1.2)
does not run with today's setuptools, NumPy and scikit-image.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ....targets.base import Images

SEVERITIES = (1, 2, 3, 4, 5)
# The largest shorter side to which CIFAR-10-C's constants apply.
SMALL = 64

Picture = NDArray[np.float32]
# (image `[C, H, W]` in [0, 1], the severity's constant, random numbers) to an image, which is clipped afterwards.
Operation = Callable[[Picture, Any, np.random.Generator], NDArray[Any]]


@dataclass(frozen=True)
class Corruption:
    """One corruption.

    Attributes:
        operation: what it does to an image.
        small: its constants at severities 1 to 5 in CIFAR-10-C.
        large: the same in ImageNet-C.
        as_picture: whether it takes images of 1 or 3 channels only.
    """

    operation: Operation
    small: tuple[Any, ...]
    large: tuple[Any, ...]
    as_picture: bool = False


def _gaussian_noise(image: Picture, scale: float, rng: np.random.Generator) -> NDArray[Any]:
    return image + rng.normal(scale=scale, size=image.shape)


def _shot_noise(image: Picture, photons: float, rng: np.random.Generator) -> NDArray[Any]:
    return rng.poisson(image * photons) / photons


def _impulse_noise(image: Picture, share: float, rng: np.random.Generator) -> NDArray[Any]:
    salt = rng.random(image.shape) < 0.5
    return np.where(rng.random(image.shape) < share, salt, image)


def _speckle_noise(image: Picture, scale: float, rng: np.random.Generator) -> NDArray[Any]:
    return image + image * rng.normal(scale=scale, size=image.shape)


def _gaussian_blur(image: Picture, sigma: float, _: np.random.Generator) -> NDArray[Any]:
    from scipy import ndimage

    return ndimage.gaussian_filter(image, (0, sigma, sigma), mode="nearest")


def _defocus_blur(image: Picture, disk: tuple[float, float], _: np.random.Generator) -> NDArray[Any]:
    from scipy import ndimage

    radius, alias = disk
    reach = max(8, int(radius))
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    kernel = (x**2 + y**2 <= radius**2).astype(np.float32)
    # The mask of OpenCV's GaussianBlur, and how its filter2D goes on beyond the border.
    kernel = ndimage.gaussian_filter(kernel / kernel.sum(), alias, mode="mirror", radius=1 if radius <= 8 else 2)
    return ndimage.correlate(image, kernel[None], mode="mirror")


def _brightness(image: Picture, more: float, _: np.random.Generator) -> NDArray[Any]:
    """Raise the value of HSV, hue and saturation kept."""
    value = image.max(axis=0, keepdims=True)
    brighter = np.minimum(value + more, 1)
    return np.where(value > 0, image * (brighter / np.where(value > 0, value, 1)), brighter)


def _contrast(image: Picture, kept: float, _: np.random.Generator) -> NDArray[Any]:
    mean = image.mean(axis=(1, 2), keepdims=True)
    return (image - mean) * kept + mean


def _pixelate(image: Picture, kept: float, _: np.random.Generator) -> NDArray[Any]:
    picture = _picture(image)
    small = picture.resize([max(1, int(side * kept)) for side in picture.size], Image.Resampling.BOX)
    return _pixels(small.resize(picture.size, Image.Resampling.BOX))


def _jpeg_compression(image: Picture, quality: int, _: np.random.Generator) -> NDArray[Any]:
    file = BytesIO()
    _picture(image).save(file, "JPEG", quality=quality)
    return _pixels(Image.open(file))


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.1), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": Corruption(_shot_noise, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "impulse_noise": Corruption(_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle_noise": Corruption(_speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2), (0.15, 0.2, 0.35, 0.45, 0.6)),
    "gaussian_blur": Corruption(_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1), (1, 2, 3, 4, 6)),
    "defocus_blur": Corruption(
        _defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "brightness": Corruption(_brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5), as_picture=True),
    "contrast": Corruption(_contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "pixelate": Corruption(_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25), as_picture=True),
    "jpeg_compression": Corruption(_jpeg_compression, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7), as_picture=True),
}


def corrupt(images: Images, index: NDArray[np.int64], name: str, severity: int) -> Images:
    """Corrupt images, each by random numbers that follow from its row, the corruption and the severity alone.

    Args:
        images: float32 `[N, C, H, W]` in [0, 1].
        index: `[N]`, their rows in the data set.
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5.

    Returns:
        float32 `[N, C, H, W]` in [0, 1]; not rounded to 8 bits, but where a corruption is itself of 8-bit pictures.
    """
    corruption = CORRUPTIONS[name]
    constant = getattr(corruption, constants_for(images.shape[2:]))[severity - 1]
    kind = zlib.crc32(name.encode())
    corrupted = np.empty_like(images)
    for place, (image, row) in enumerate(zip(images, index, strict=True)):
        rng = np.random.default_rng([int(row), kind, severity])
        corrupted[place] = np.clip(corruption.operation(image, constant, rng), 0, 1)
    return corrupted


def constants_for(size: tuple[int, ...]) -> Literal["small", "large"]:
    """Name the constants for images of this height and width: CIFAR-10-C's (`small`) or ImageNet-C's (`large`)."""
    return "small" if min(size) <= SMALL else "large"


def _picture(image: Picture) -> Image.Image:
    pixels = np.rint(image * 255).astype(np.uint8)
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _pixels(picture: Image.Image) -> NDArray[Any]:
    pixels = np.asarray(picture, np.float32) / 255
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
