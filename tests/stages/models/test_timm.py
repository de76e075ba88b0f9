"""timm's classifiers on small images: one of each way in which a stem is fitted."""

from __future__ import annotations

import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.models import build_model, models
from edgeproof.stages.models.stem import first_convolution

from tests.stages.models.quick_weights import quick_weights

__all__ = ["quick_weights"]
pytest.importorskip("timm")

# Name, side of the first convolution's kernel, its stride.
STEMS = {
    "resnet18": (3, 1),  # 7×7 and max-pool exchanged
    "resnet18d": (3, 1),  # a stem of three convolutions
    "resnetv2_50": (3, 1),
    "convnext_atto": (2, 2),  # patches of 4 made smaller
    "test_vit": (4, 4),  # patches of 16 made as small as 8×8 patches need
    "levit_128s": (3, 1),  # its attention counts positions behind a stem of stride 2
    "mobilenetv3_small_050": (3, 1),
    "mobileone_s0": (3, 2),  # kept: its branches do not follow the first convolution
}


@pytest.mark.parametrize("name", STEMS)
def test_stems(name: str):
    model = build_model(f"timm/{name}", (1, 32, 32), 7, seed=0).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 1, 32, 32)).shape == (2, 7)
    found = first_convolution(model)
    assert found is not None
    assert (found[1].kernel_size[0], found[1].stride[0], found[1].in_channels) == (*STEMS[name], 1)


def test_a_near_miss():
    with pytest.raises(UsageError, match=r"unknown model 'timm/resnet19'; did you mean 'timm/resnet1\d"):
        models["timm/resnet19"]


def test_a_size_that_does_not_work_names_one_that_does():
    with pytest.raises(
        UsageError, match=r"'timm/inception_v4': does not take images of 32×32 .*; the next size .* 48×48$"
    ):
        build_model("timm/inception_v4", (3, 32, 32), 10, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "beit_base_patch16_224",
        "coatnet_nano_cc_224",
        "convit_tiny",
        "crossvit_tiny_240",
        "deit_tiny_patch16_224",
        "edgenext_xx_small",
        "efficientnet_b0",
        "eva02_tiny_patch14_224",
        "fastvit_t8",
        "ghostnet_050",
        "hrnet_w18_small",
        "inception_v3",
        "mixer_s16_224",
        "mobilevit_xxs",
        "mvitv2_tiny",
        "nf_ecaresnet26",
        "pit_ti_224",
        "poolformer_s12",
        "pvt_v2_b0",
        "regnetx_002",
        "repvit_m1",
        "res2next50",
        "swin_tiny_patch4_window7_224",
        "swinv2_tiny_window16_256",
        "tf_efficientnet_b0",
        "tresnet_m",
        "twins_svt_small",
        "vgg11",
        "visformer_tiny",
        "xcit_nano_12_p8_224",
    ],
)
def test_families_answer_small_images(name: str):
    model = build_model(f"timm/{name}", (3, 32, 32), 10, seed=0).eval()
    with torch.no_grad():
        logits = model(torch.rand(2, 3, 32, 32))
    assert logits.shape == (2, 10)
    assert bool(logits.isfinite().all())
