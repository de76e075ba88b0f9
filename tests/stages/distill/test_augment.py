"""Augmentations: what each does to an image, against references that work on one image at a time."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from edgeproof.core.errors import UsageError
from edgeproof.stages.distill.augment import (
    LateAugment,
    colorshape,
    colour,
    compose,
    geometry,
    operations,
    random_shift,
)
from edgeproof.stages.distill.augment.colorshape import random_colorshape
from edgeproof.stages.distill.augment.cropshift import random_cropshift
from edgeproof.stages.distill.augment.cutout import random_cutout
from edgeproof.stages.distill.augment.erase import random_erase
from edgeproof.stages.distill.augment.flip import random_flip
from pydantic import ValidationError
from scipy.stats import chisquare
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomErasing
from torchvision.transforms import functional as reference

NAMES = operations.names()


def numbered(count: int, height: int, width: int) -> Tensor:
    """Images whose pixels are all different, none of them black: a pixel's value tells where it came from."""
    pixels = torch.arange(1, height * width + 1, dtype=torch.float32) / (height * width)
    return pixels.view(1, 1, height, width).repeat(count, 1, 1, 1)


def eight_bit(count: int, channels: int = 3, side: int = 32) -> Tensor:
    """Images of 256 levels, smooth enough to look like some."""
    coarse = torch.rand(count, channels, 6, 6)
    smooth = F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round() / 255


def per_image(function: Any, images: Tensor, *values: Tensor) -> Tensor:
    return torch.stack([function(image, *(float(value[row]) for value in values)) for row, image in enumerate(images)])


# What all of them promise


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(9, 3, 32, 32), (9, 1, 8, 8), (9, 1, 28, 28), (4, 3, 12, 20), (3, 4, 9, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_range_the_shape_and_the_input_are_kept(name: str, shape: tuple[int, ...], dtype: torch.dtype):
    torch.manual_seed(0)
    images = torch.rand(shape, dtype=dtype)
    before = images.clone()
    for _ in range(5):
        result = compose([name])(images)
        assert result.shape == images.shape
        assert result.dtype == images.dtype
        assert result.device == images.device
        assert ((result >= 0) & (result <= 1)).all()
        assert torch.equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_every_image_has_its_own_draw(name: str):
    images = eight_bit(1).repeat(64, 1, 1, 1)
    augment = compose([name])
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(augment(images))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert len({image.numpy().tobytes() for image in results[0]}) > 1


@pytest.mark.parametrize("name", NAMES)
def test_only_torchs_generator_is_drawn_from(name: str):
    images = torch.rand(16, 3, 32, 32)
    results = []
    for seed in (0, 1):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(7)
        results.append(compose([name])(images))
    assert torch.equal(*results)


# Shift


def test_shift_equals_padding_and_slicing():
    images = torch.rand(20, 3, 8, 10)
    torch.manual_seed(3)
    result = random_shift(images, 2)
    torch.manual_seed(3)
    down, right = torch.randint(0, 5, (20, 1)), torch.randint(0, 5, (20, 1))
    padded = F.pad(images, (2, 2, 2, 2))
    expected = [padded[row, :, down[row] : down[row] + 8, right[row] : right[row] + 10] for row in range(20)]
    assert torch.equal(result, torch.stack(expected))
    assert len(set(down.flatten().tolist())) > 1


def test_no_shift_returns_the_images_themselves_and_draws_nothing():
    images = torch.rand(2, 1, 4, 4)
    before = torch.get_rng_state()
    assert random_shift(images, 0) is images
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("side", "pixels"), [(8, 1), (28, 4), (32, 4), (64, 8), (224, 28)])
def test_the_default_shift_is_an_eighth_of_the_side(side: int, pixels: int):
    images = numbered(300, side, side) if side < 100 else torch.ones(300, 1, side, side)
    result = compose(["shift"])(images)
    black_rows = (result.sum(dim=3) == 0).sum(dim=2).flatten()
    assert int(black_rows.max()) == pixels


# Flip


def test_a_flip_is_undone_by_another_and_half_of_the_images_are_flipped():
    images = torch.rand(2000, 1, 3, 4)
    assert torch.equal(random_flip(random_flip(images, 1.0), 1.0), images)
    assert torch.equal(random_flip(images, 1.0), images.flip(3))
    assert random_flip(images, 0.0).equal(images)
    torch.manual_seed(0)
    result = random_flip(images)
    flipped = (result == images.flip(3)).all(dim=(1, 2, 3))
    same = (result == images).all(dim=(1, 2, 3))
    assert (flipped ^ same).all()
    assert abs(float(flipped.float().mean()) - 0.5) < 0.05


# CropShift


def rectangle_of(image: np.ndarray) -> tuple[int, int, int, int, int, int]:
    """The rectangle that is not black: (rows, columns, first row, first column, where it was: row, column)."""
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    first = round(float(image[rows[0], columns[0]]) * image.size) - 1
    return len(rows), len(columns), rows[0], columns[0], *divmod(first, image.shape[1])


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 11), (12, 20, 11), (8, 8, 8), (8, 8, 1)])
def test_cropshift_keeps_one_rectangle_bit_equal_and_blackens_the_rest(height: int, width: int, size: int):
    torch.manual_seed(0)
    images = numbered(1500, height, width)
    original = images[0, 0].numpy()
    cuts = set()
    for image in random_cropshift(images, size)[:, 0].numpy():
        rows, columns, row, column, from_row, from_column = rectangle_of(image)
        expected = np.zeros_like(original)
        kept = original[from_row : from_row + rows, from_column : from_column + columns]
        expected[row : row + rows, column : column + columns] = kept
        assert np.array_equal(image, expected)
        cuts.add(height - rows + width - columns)
    assert cuts == set(range(size))


def test_cropshift_has_the_official_distribution():
    torch.manual_seed(1)
    found = [rectangle_of(image) for image in random_cropshift(numbered(20000, 32, 32), 11)[:, 0].numpy()]
    rows, columns, row, column, from_row, from_column = np.array(found).T
    cut_rows, cut_columns = 32 - rows, 32 - columns
    strength = cut_rows + cut_columns
    assert chisquare(np.bincount(strength, minlength=11)).pvalue > 1e-3
    for cut in (3, 10):  # given the strength, the number of columns is uniform
        assert chisquare(np.bincount(cut_columns[strength == cut], minlength=cut + 1)).pvalue > 1e-3
    for cuts, positions in (
        (cut_rows, row),
        (cut_rows, from_row),
        (cut_columns, column),
        (cut_columns, from_column),
    ):
        assert chisquare(np.bincount(positions[cuts == 4], minlength=5)).pvalue > 1e-3
    both = np.bincount(5 * row[cut_rows == 4] + from_row[cut_rows == 4], minlength=25)
    assert chisquare(both).pvalue > 1e-3  # where from and where to are independent


def test_cropshift_moves_whole_pixels():
    images = torch.rand(50, 3, 32, 32)
    torch.manual_seed(0)
    together = random_cropshift(images, 11)
    for channel in range(3):
        torch.manual_seed(0)
        assert torch.equal(together[:, channel : channel + 1], random_cropshift(images[:, channel : channel + 1], 11))


# Cutout and random erasing


@pytest.mark.parametrize(("size", "height", "width"), [(8, 32, 32), (3, 9, 9), (4, 10, 14)])
def test_cutout_blackens_a_square_that_is_cut_off_at_the_edge(size: int, height: int, width: int):
    holes = set()
    for row in range(height):
        for column in range(width):
            hole = np.zeros((height, width), dtype=bool)
            top, left = row - size // 2, column - size // 2
            hole[max(top, 0) : top + size, max(left, 0) : left + size] = True
            holes.add(hole.tobytes())
    torch.manual_seed(0)
    result = random_cutout(torch.ones(5 * height * width, 3, height, width), size)
    assert torch.equal(result[:, 0], result[:, 1])
    seen = [hole.tobytes() for hole in (result[:, 0] == 0).numpy()]
    assert set(seen) <= holes
    assert len(set(seen)) > 0.95 * len(holes)
    assert result.sum(dim=(1, 2, 3)).min() == 3 * (height * width - size**2)


def test_erasing_has_torchvisions_distribution():
    torch.manual_seed(0)
    count = 3000
    ours = random_erase(torch.ones(count, 1, 32, 32), 1.0)
    erase = RandomErasing(p=1.0)
    theirs = torch.stack([erase(torch.ones(1, 32, 32)) for _ in range(count)])
    for images in (ours, theirs):
        assert (images == 0).any(dim=(1, 2, 3)).all()
    features = []
    for images in (ours, theirs):
        holes = (images[:, 0] == 0).numpy()
        rows, columns = holes.any(axis=2).sum(axis=1), holes.any(axis=1).sum(axis=1)
        assert (holes.sum(axis=(1, 2)) == rows * columns).all()
        top, left = holes.any(axis=2).argmax(axis=1), holes.any(axis=1).argmax(axis=1)
        features.append([rows, columns, rows * columns, rows / columns, top, left])
    for mine, other in zip(*features, strict=True):
        error = math.hypot(np.std(mine), np.std(other)) / math.sqrt(count)
        assert abs(np.mean(mine) - np.mean(other)) < 4 * error
        assert np.std(mine) == pytest.approx(np.std(other), rel=0.06)


def test_half_of_the_images_are_erased():
    torch.manual_seed(0)
    changed = (random_erase(torch.ones(2000, 1, 16, 16)) == 0).any(dim=(1, 2, 3))
    assert abs(float(changed.float().mean()) - 0.5) < 0.05
    assert not (random_erase(torch.ones(100, 1, 16, 16), 0.0) == 0).any()


def test_a_rectangle_that_never_fits_leaves_the_image_alone():
    images = torch.ones(200, 1, 1, 40)  # one row: nothing is lower than that
    holes = random_erase(images, 1.0) == 0
    assert not holes.any()


# Colours and shapes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("function", "adjust"),
    [
        (colour.saturate, reference.adjust_saturation),
        (colour.brighten, reference.adjust_brightness),
        (colour.contrast, reference.adjust_contrast),
        (colour.sharpen, reference.adjust_sharpness),
    ],
)
def test_colours_change_as_in_torchvision(function: Any, adjust: Any, channels: int):
    torch.manual_seed(0)
    images = eight_bit(40, channels)
    factor = 0.1 + 1.8 * torch.rand(40)
    result = function(images, factor)
    assert torch.allclose(result, per_image(adjust, images, factor), atol=1e-6)
    # The official code works on 8-bit Pillow images, with their rounding.
    pillow = per_image(lambda image, by: reference.to_tensor(adjust(reference.to_pil_image(image), by)), images, factor)
    assert (result - pillow).abs().max() <= 2.5 / 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_contrast_is_stretched_as_in_torchvision(name: str, channels: int):
    torch.manual_seed(0)
    images = eight_bit(40, channels) * 0.5 + 0.25
    images = (images * 255).round() / 255
    images[0] = 0.5  # of one value
    images[0] = (images[0] * 255).round() / 255
    adjust = getattr(reference, name)
    result = getattr(colour, name)(images)
    eight = (images * 255).round().to(torch.uint8)
    expected = per_image(adjust, images if name == "autocontrast" else eight)
    expected = expected if name == "autocontrast" else expected / 255
    assert torch.allclose(result, expected, atol=1e-6)
    pillow = per_image(lambda image: reference.to_tensor(adjust(reference.to_pil_image(image))), images)
    assert (result - pillow).abs().max() <= 1.5 / 255
    assert not torch.allclose(result, images)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (9, 14)])
def test_shapes_change_as_in_torchvision(height: int, width: int):
    torch.manual_seed(0)
    images = torch.rand(40, 2, height, width, dtype=torch.float64)  # in float32 half pixels may round either way
    angle = 0.3 * (torch.rand(40, dtype=torch.float64) - 0.5)
    none = torch.zeros_like(angle)
    nearest = {"interpolation": InterpolationMode.NEAREST, "fill": 0}

    def sheared(image: Tensor, x: float, y: float) -> Tensor:
        degrees = [math.degrees(x), math.degrees(y)]
        return reference.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=degrees, **nearest)

    def rotated(image: Tensor, degrees: float) -> Tensor:
        return reference.rotate(image, degrees, **nearest)

    for x, y in ((angle, none), (none, angle)):
        expected = per_image(sheared, images, x, y)
        assert torch.equal(geometry.shear(images, x, y), expected)
        assert not torch.equal(expected, images)
    degrees = torch.randint(-30, 31, (40,)).double()
    assert torch.equal(geometry.rotate(images, degrees), per_image(rotated, images, degrees))


def official_change(image: Tensor, choice: int, draws: list[float]) -> Tensor:
    """What the official code does to one image, given its draws."""
    strength, sign = draws[0], -1 if draws[1] < 0.5 else 1
    radians = sign * (0.05 + 0.1 * strength)
    shear = [math.degrees(radians), 0.0] if draws[2] < 0.5 else [0.0, math.degrees(radians)]
    eight = (image * 255).round().to(torch.uint8)
    nearest = {"interpolation": InterpolationMode.NEAREST, "fill": 0}
    return [
        lambda: reference.adjust_saturation(image, 0.1 + 1.8 * strength),
        lambda: reference.adjust_brightness(image, 0.5 + 1.4 * strength),
        lambda: reference.adjust_contrast(image, 0.5 + 1.4 * strength),
        lambda: reference.adjust_sharpness(image, 0.1 + 1.8 * strength),
        lambda: reference.autocontrast(image),
        lambda: reference.equalize(eight) / 255,
        lambda: reference.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=shear, **nearest),
        lambda: reference.rotate(image, sign * (1 + int(10 * strength)), **nearest),
    ][choice]()


def test_colorshape_is_one_official_change_per_image():
    torch.manual_seed(0)
    images = eight_bit(200)
    torch.manual_seed(5)
    result = random_colorshape(images)
    torch.manual_seed(5)
    choices, draws = torch.randint(0, 8, (200,)).tolist(), torch.rand(200, 3).tolist()
    for row, (choice, drawn) in enumerate(zip(choices, draws, strict=True)):
        off = (result[row] - official_change(images[row], choice, drawn)).abs() > 1e-5
        assert off.float().mean() < 0.002, choice  # half pixels may round either way
    assert set(choices) == set(range(8))


@pytest.mark.parametrize(("channels", "ways"), [(1, 7), (3, 8), (4, 7)])
def test_colorshape_calls_once_per_way_and_drops_saturation_without_colours(
    channels: int, ways: int, monkeypatch: pytest.MonkeyPatch
):
    calls: list[tuple[int, int]] = []

    def noted(number: int, change: Any) -> Any:
        return lambda images, draws: calls.append((number, len(images))) or change(images, draws)

    noting = tuple(noted(number, change) for number, change in enumerate(colorshape.CHANGES))
    monkeypatch.setattr(colorshape, "CHANGES", noting)
    torch.manual_seed(0)
    random_colorshape(torch.rand(4000, channels, 6, 6))
    assert [number for number, _ in calls] == list(range(8))[8 - ways :]
    counts = [count for _, count in calls]
    assert sum(counts) == 4000
    assert chisquare(counts).pvalue > 1e-3


# Recipes


def test_operations_are_applied_in_their_order():
    images = torch.ones(64, 1, 8, 8)
    torch.manual_seed(0)
    result = compose([{"shift": 2}, {"cutout": 3}])(images)
    torch.manual_seed(0)
    assert torch.equal(result, random_cutout(random_shift(images, 2), 3))
    assert compose([])(images) is images


def test_idbh_is_flip_cropshift_colorshape_erase():
    images = eight_bit(64)
    for name, erasing in (("idbh_weak", 0.5), ("idbh_strong", 1.0)):
        torch.manual_seed(0)
        result = compose([name])(images)
        torch.manual_seed(0)
        expected = compose(["flip", {"cropshift": 11}, "colorshape", {"erase": erasing}])(images)
        assert torch.equal(result, expected)


def test_a_recipes_list_is_kept_as_it_is_written():
    raw = {"start": 0.75, "operations": ["flip", {"cropshift": 11}, {"erase": 0.25}, {"flip": 1}]}
    config = LateAugment.model_validate(raw)
    dumped = config.model_dump(mode="json")
    assert dumped == raw
    assert LateAugment.model_validate(dumped) == config
    compose(config.operations)(torch.rand(4, 1, 28, 28))
    accepted = LateAugment.model_json_schema()["properties"]["operations"]["items"]["anyOf"]
    assert [choice["type"] for choice in accepted] == ["string", "object"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("shfit", "unknown augmentation 'shfit'; did you mean 'shift'"),
        ({"cropshit": 3}, "unknown augmentation 'cropshit'; did you mean 'cropshift'"),
        ({"shift": -1}, "shift: must be a whole number of pixels, at least 0, got -1"),
        ({"shift": 1.5}, "shift: must be a whole number"),
        ({"shift": True}, "shift: must be a whole number"),
        ({"cutout": 0}, "cutout: must be a whole number of pixels, at least 1"),
        ({"cutout": "8"}, "cutout: must be a whole number"),
        ({"erase": 1.5}, r"erase: must be a probability in \[0, 1\]"),
        ({"idbh_weak": 1}, "idbh_weak: there is nothing to set"),
        ({"shift": 4, "cutout": 8}, "must be a name, or one name with its number"),
        ({}, "must be a name"),
        (4, "must be a name"),
    ],
)
def test_entries_that_are_none(entry: Any, words: str):
    with pytest.raises(ValidationError, match=words):
        LateAugment.model_validate({"operations": [entry]})


@pytest.mark.parametrize(("entry", "side"), [({"shift": 8}, 8), ({"cropshift": 11}, 8), ({"cutout": 40}, 32)])
def test_pixels_that_do_not_suit_the_images_are_noticed_before_training(entry: dict[str, float], side: int):
    augment = compose([entry])
    (name, value), *_ = entry.items()
    with pytest.raises(UsageError, match=f"{name}: {value} is too large for images with a side of {side} pixels"):
        augment.check((3, 2 * side, side))
    with pytest.raises(UsageError, match=f"{name}: {value}"):
        augment(torch.rand(2, 3, side, 2 * side))
    augment.check((1, 64, 64))
