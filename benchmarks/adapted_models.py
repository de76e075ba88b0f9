"""A normalisation in the adapter against the same one written into the network by hand, at 224x224.

    python benchmarks/adapted_models.py

Networks of timm with random weights and four images each; labels are the network's own answers, and eps is where about
half of the images survive a short PGD. Logits are ONNX Runtime's, gradients the twin's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import timm
import torch
import torch.nn.functional as F
from edgeproof.stages.adapt import AdapterConfig, adapt
from edgeproof.stages.twin import load_twin
from edgeproof.stages.verify.subject.engine_module import AttackableEngine
from torch import Tensor, nn

NETWORKS = ("resnet50", "mobilenetv3_large_100", "vit_small_patch16_224", "convnext_tiny")
SHAPE, CLASSES, IMAGES, STEPS = (3, 224, 224), 1000, 4, 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ByHand(nn.Module):
    """A network behind its normalisation."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Answer pixels in [0, 1]."""
        return self.network((images - self.mean) / self.std)


def exported(network: nn.Module, path: Path) -> Path:
    """An ONNX file of any batch size."""
    axes = {"images": {0: "N"}, "logits": {0: "N"}}
    names = {"input_names": ["images"], "output_names": ["logits"], "dynamic_axes": axes}
    torch.onnx.export(network, (torch.zeros(2, *SHAPE),), path, dynamo=False, opset_version=17, **names)
    return path


def engine(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """What ONNX Runtime answers."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Of the cross-entropy, by the images."""
    x = images.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)[0]


def survivors(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> list[bool]:
    """Whether each image keeps its label at the end of a short PGD."""
    x = images.clone()
    for _ in range(STEPS):
        step = gradient(model, x, labels).sign() * (2 * eps / STEPS)
        x = (images + (x + step - images).clamp(-eps, eps)).clamp(0, 1)
    with torch.no_grad():
        return (model(x).argmax(1) == labels).tolist()


def main() -> None:
    """Print a line a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    torch.set_num_threads(1)
    for name in parser.parse_args().networks:
        torch.manual_seed(0)
        network = timm.create_model(name, pretrained=False, num_classes=CLASSES).eval()
        images = torch.rand(IMAGES, *SHAPE)
        with tempfile.TemporaryDirectory() as folder:
            by_hand = exported(ByHand(network), Path(folder) / "by_hand.onnx")
            found = adapt(
                exported(network, Path(folder) / "own.onnx"),
                AdapterConfig(normalize="imagenet"),
                SHAPE,
                CLASSES,
                images.numpy(),
            )
            assert found is not None
            found.save(adapted := Path(folder) / "adapted.onnx")
            models = [AttackableEngine(engine(path), load_twin(path)) for path in (by_hand, adapted)]
            with torch.no_grad():
                logits = [model(images) for model in models]
            labels = logits[0].argmax(1)
            slopes = [gradient(model, images, labels) for model in models]
            low, high = 0.0, 0.1
            for _ in range(10):  # until half of them fall
                eps = (low + high) / 2
                low, high = (eps, high) if sum(survivors(models[0], images, labels, eps)) > IMAGES / 2 else (low, eps)
            bits = [survivors(model, images, labels, high) for model in models]
        apart = (logits[0] - logits[1]).abs().max() / logits[0].abs().max()
        turned = (slopes[0] - slopes[1]).norm() / slopes[0].norm()
        print(
            f"{name}: {', '.join(found.words)}; logits differ by {apart:.1e}, gradients by {turned:.1e} (relative); "
            f"at eps {high:.2g} bits {bits[0]} and {bits[1]}",
            flush=True,
        )


if __name__ == "__main__":
    main()
