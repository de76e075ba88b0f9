"""Other pixels that a model may want: what an option is said to do is what the adapter does when it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeproof.pipeline.request.other_pixels import usual_variants
from edgeproof.stages.adapt import AdapterConfig, adapt

from tests.stages.adapt.foreign import CHANNELS, CLASSES, HEIGHT, PIXELS, SHAPE, WIDTH, answers, classifier, some_images


def config_of(said: str) -> AdapterConfig:
    """The options of a message, as a user would type them."""
    words = said.split()
    options: dict[str, Any] = {
        name[2:].replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    return AdapterConfig.model_validate(options)


@pytest.mark.parametrize(
    ("dimensions", "known", "layouts"),
    [
        (("N", PIXELS), {}, 4),
        (("N", PIXELS), {"layout": "NHWC"}, 1),
        (("N", CHANNELS, HEIGHT, WIDTH), {}, 1),
        (("N", HEIGHT, WIDTH, CHANNELS), {}, 1),
    ],
)
def test_every_variant_is_what_its_options_do(
    tmp_path: Path, dimensions: tuple[int | str, ...], known: dict[str, Any], layouts: int
):
    path, images = classifier(tmp_path / "model.onnx", dimensions), some_images()
    around = adapt(path, AdapterConfig(**known), SHAPE, CLASSES, images)
    variants = list(usual_variants(images, AdapterConfig(**known), around))
    # Five normalisations or none, blue first or not, and the layouts that the input fits.
    assert len(variants) == 6 * 2 * layouts - 1
    assert {each.parts for each in variants} == ({1, 2, 3} if layouts > 1 else {1, 2})
    for variant in variants:
        told = config_of(variant.said).model_copy(update=known)
        adapted = adapt(path, told, SHAPE, CLASSES, images)
        assert adapted is not None
        (expected,) = answers(adapted.model, images)
        (got,) = answers(around.model if around else path, np.ascontiguousarray(variant.turned(images), np.float32))
        # Options are written with four to six digits.
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-2, err_msg=variant.said)


def test_images_on_their_side_where_the_input_is_square(tmp_path: Path):
    images = np.random.default_rng(0).random((5, 1, 4, 4), np.float32)
    said = {each.said for each in usual_variants(images, AdapterConfig()) if each.parts == 1}
    assert "--layout NCWH" in said
    assert not any("NHWC" in each or "BGR" in each for each in said)
    (turned,) = [each for each in usual_variants(images, AdapterConfig()) if each.said == "--layout NCWH"]
    np.testing.assert_array_equal(turned.turned(images), images.transpose(0, 1, 3, 2))
    assert not any("layout" in each.said for each in usual_variants(images, AdapterConfig(layout="NCHW")))
