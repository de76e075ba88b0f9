"""torchvision classifiers with random weights, exported, and quantized by ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from edgeproof.targets.onnxruntime.target import open_session
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.mobilenetv3 import MobileNetV3, _mobilenet_v3_conf
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.shufflenetv2 import ShuffleNetV2
from torchvision.models.vision_transformer import VisionTransformer

SIDE, CLASSES = 64, 10


def _short_convnext() -> nn.Module:
    widths = [48, 96, 192]
    blocks = [CNBlockConfig(a, b, 2) for a, b in zip(widths, [*widths[1:], None], strict=True)]
    return ConvNeXt(blocks, num_classes=CLASSES)


def _short_vit() -> nn.Module:
    return VisionTransformer(
        image_size=SIDE, patch_size=16, num_layers=3, num_heads=4, hidden_dim=96, mlp_dim=192, num_classes=CLASSES
    )


def _short_resnet() -> nn.Module:
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)


def _short_mobilenet_v2() -> nn.Module:
    return MobileNetV2(CLASSES, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]])


def _short_mobilenet_v3() -> nn.Module:
    """The small one's blocks of each kind: with squeeze and excitation and without, of ReLU and of hard swish."""
    blocks, last = _mobilenet_v3_conf("mobilenet_v3_small")
    return MobileNetV3(blocks[:5], last, num_classes=CLASSES)


def _short_efficientnet() -> nn.Module:
    blocks = [MBConvConfig(1, 3, 1, 32, 16, 1), MBConvConfig(6, 3, 2, 16, 24, 2), MBConvConfig(6, 5, 2, 24, 40, 2)]
    return EfficientNet(blocks, 0.0, num_classes=CLASSES)


def _short_shufflenet() -> nn.Module:
    return ShuffleNetV2([2, 2, 2], [24, 58, 116, 232, 464], num_classes=CLASSES)


def _named(name: str) -> Callable[[], nn.Module]:
    return lambda: getattr(torchvision.models, name)(num_classes=CLASSES)


# With fewer blocks, some narrower: the same operators in a tenth of the time.
SHORT: dict[str, Callable[[], nn.Module]] = {
    "short resnet": _short_resnet,
    "short mobilenet_v2": _short_mobilenet_v2,
    "short mobilenet_v3": _short_mobilenet_v3,
    "short efficientnet": _short_efficientnet,
    "short shufflenet": _short_shufflenet,
    "squeezenet1_1": _named("squeezenet1_1"),
    "short convnext": _short_convnext,
    "short vit": _short_vit,
}
WHOLE: dict[str, Callable[[], nn.Module]] = {
    name: _named(name)
    for name in (
        "resnet18",
        "resnet50",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "shufflenet_v2_x1_0",
    )
}
MODELS = SHORT | WHOLE


def images(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def build(name: str) -> nn.Module:
    """The model in evaluation mode, with batch statistics and logits of a sane size."""
    torch.manual_seed(0)
    model = MODELS[name]()
    if name == "short vit":  # torchvision starts its head at zero
        nn.init.normal_(model.heads.head.weight, std=0.1)  # type: ignore[union-attr]
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # a plain average over the passes below
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
        if isinstance(layer, BasicBlock | Bottleneck):  # as trained ones are: a branch corrects, and does not drown
            last = layer.bn3 if isinstance(layer, Bottleneck) else layer.bn2
            nn.init.constant_(last.weight, 0.25)  # type: ignore[arg-type]
    model.train()
    with torch.no_grad():
        for seed in range(3):
            model(images(8, seed))
    return model.eval()


def export(model: nn.Module, path: Path, *, dynamo: bool = True, opset: int = 18) -> Path:
    """Export with a dynamic batch."""
    x = images(2, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            torch.onnx.export(
                model, (x,), path, dynamo=True, opset_version=opset, external_data=False, verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},), input_names=["images"], output_names=["logits"],
            )  # fmt: skip
        else:
            torch.onnx.export(
                model, (x,), str(path), dynamo=False, opset_version=opset, input_names=["images"],
                output_names=["logits"], dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
            )  # fmt: skip
    return path


class _Reader(CalibrationDataReader):
    def __init__(self, batches: list[np.ndarray]) -> None:
        self.batches: Iterator[dict[str, np.ndarray]] = iter([{"images": batch} for batch in batches])

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return next(self.batches, None)


# The two schemes that targets ask for; the second is what TensorRT's parser takes.
SCHEMES: dict[str, dict[str, Any]] = {
    "U8S8": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8},
    "S8S8": {
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "extra_options": {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "AddQDQPairToWeight": True,
        },
    },
}


def quantize(source: Path, folder: Path, scheme: str, batches: list[np.ndarray]) -> Path:
    """The QDQ graph of a float graph."""
    prepared, target = folder / "prepared.onnx", folder / f"{source.stem}_{scheme}.onnx"
    quant_pre_process(str(source), str(prepared))
    quantize_static(
        str(prepared), str(target), _Reader(batches), quant_format=QuantFormat.QDQ, per_channel=True, **SCHEMES[scheme]
    )
    return target


def run_onnxruntime(path: Path, x: torch.Tensor, *, optimise: bool) -> np.ndarray:
    session = open_session(path, threads=1, optimise=optimise)
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
