"""torchvision's classifiers on small images: the stem keeps the resolution, and every one answers."""

from __future__ import annotations

import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.models import build_model
from edgeproof.stages.models.stem import first_convolution, patch_side, token_side
from edgeproof.stages.models.torchvision import classifiers
from torch import nn

from tests.stages.models.quick_weights import quick_weights

__all__ = ["quick_weights"]
CIFAR = (3, 32, 32)

# One of each kind; the others are deeper, wider, and up to 600 million weights large.
EACH_KIND = {
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18"),
    *("resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0", "squeezenet1_1", "swin_t", "swin_v2_t"),
    *("vgg11", "vgg11_bn", "vit_b_16", "vit_b_32", "wide_resnet50_2"),
}
# What no stem makes fit, at 3×32×32: nothing.
REFUSED: set[str] = set()


def features(model: nn.Module, layer: str, shape: tuple[int, int, int]) -> list[int]:
    """The shape of what a layer gives for one image."""
    found: list[int] = []
    hook = model.get_submodule(layer).register_forward_hook(lambda _m, _x, y: found.extend(y.shape[1:]))
    with torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    hook.remove()
    return found


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        ("resnet18", "layer4", [512, 4, 4]),
        ("densenet121", "features", [1024, 4, 4]),
        ("squeezenet1_1", "features", [512, 7, 7]),
        ("shufflenet_v2_x0_5", "stage4", [192, 4, 4]),
        ("mobilenet_v2", "features", [1280, 2, 2]),
        ("convnext_tiny", "features", [768, 2, 2]),
    ],
)
def test_small_images_keep_their_resolution_through_the_stem(name: str, layer: str, expected: list[int]):
    model = build_model(f"torchvision/{name}", CIFAR, 10, seed=0)
    assert features(model, layer, CIFAR) == expected


def test_photographs_get_the_published_stem():
    model = build_model("torchvision/resnet18", (3, 224, 224), 10, seed=0)
    found = first_convolution(model)
    assert found is not None
    assert (found[1].kernel_size, found[1].stride) == ((7, 7), (2, 2))
    assert isinstance(model.maxpool, nn.MaxPool2d)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "swin_t", "vgg11", "maxvit_t", "googlenet"])
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 64)])
@pytest.mark.slow
def test_other_channels_and_sizes(name: str, shape: tuple[int, int, int]):
    model = build_model(f"torchvision/{name}", shape, 7, seed=0).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, *shape)).shape == (2, 7)


def test_a_size_that_does_not_work_names_one_that_does():
    with pytest.raises(UsageError) as caught:
        build_model("torchvision/maxvit_t", (1, 28, 28), 10, seed=0)
    assert str(caught.value) == (
        "model 'torchvision/maxvit_t': does not take images of 28×28 (its windows need a side that 16 divides, "
        "from 32 up); the next size that it takes is 32×32"
    )


def test_patches_divide_the_side():
    assert [token_side(side) for side in (8, 28, 32, 48, 64)] == [1, 4, 4, 6, 8]
    assert [patch_side(side) for side in (8, 28, 32, 48, 64)] == [1, 2, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name in EACH_KIND else pytest.param(name, marks=pytest.mark.walk) for name in classifiers()]
)
def test_every_classifier_answers_small_images(name: str):
    if name in REFUSED:
        with pytest.raises(UsageError, match="the next size that it takes is"):
            build_model(f"torchvision/{name}", CIFAR, 10, seed=0)
        return
    model = build_model(f"torchvision/{name}", CIFAR, 10, seed=0).eval()
    with torch.no_grad():
        logits = model(torch.rand(2, *CIFAR))
    assert logits.shape == (2, 10)
    assert bool(logits.isfinite().all())
