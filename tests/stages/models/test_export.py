"""Every kind of model survives our exporter: ONNX Runtime and the twin answer as torch does, for any batch size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeproof.stages.export import export_onnx
from edgeproof.stages.models import build_model
from edgeproof.stages.twin import load_twin
from edgeproof.targets.onnxruntime.target import open_session
from torch import nn
from torchvision.models.vgg import VGG, make_layers


def _narrow_vgg() -> nn.Module:
    """Its adaptive pooling makes 7×7 of what is smaller; a hundred million weights behind it add nothing to that."""
    torch.manual_seed(0)
    model = VGG(make_layers([16, "M", 32, "M", 512, "M"]), num_classes=10)
    model.classifier = nn.Linear(512 * 7 * 7, 10)
    return model


NARROW_VGG = "narrow vgg"
SLOW = ["resnet18", "torchvision/squeezenet1_1", "timm/resnet10t", "timm/test_vit"]
# Made of the same layers as those above, or, the torchvision ones, as those of conformance/test_torchvision.py.
WALKED = ["resnet50", "preact_resnet18", "preact_resnet18_bn", "mobilenet_v2", "torchvision/mobilenet_v2",
          "torchvision/vgg11", "torchvision/vit_b_32", "timm/resnet18d"]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cnn28_small", (1, 28, 28)),
        ("mobile_small", (1, 8, 8)),
        ("wrn_10_1", (3, 32, 32)),
        (NARROW_VGG, (3, 32, 32)),
        *(pytest.param(name, (3, 32, 32), marks=pytest.mark.slow) for name in SLOW),
        *(pytest.param(name, (3, 32, 32), marks=pytest.mark.walk) for name in WALKED),
    ],
)
def test_exported_models_answer_alike(name: str, shape: tuple[int, int, int], tmp_path: Path):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    model = _narrow_vgg() if name == NARROW_VGG else build_model(name, shape, 10, seed=0)
    torch.manual_seed(0)
    with torch.no_grad():  # BatchNorm statistics that differ from those it starts with
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        model.train()(torch.rand(8, *shape))
        for parameter in model.parameters():  # torchvision's ViT starts with a head of zeros, and answers zeros
            if not parameter.any():
                nn.init.normal_(parameter, std=0.05)
    model.eval()
    path = tmp_path / "m.onnx"
    export_onnx(model, shape, path, opset=18)
    images = torch.rand(3, *shape)
    with torch.no_grad():
        expected, twin = model(images), load_twin(path)(images)
    session = open_session(path)
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    scale = expected.abs().max()
    assert expected.shape == (3, 10)
    assert (torch.from_numpy(found) - expected).abs().max() < 1e-4 * scale
    assert (twin - expected).abs().max() < 1e-4 * scale
