"""Image classifiers of transformers, made from their configurations and trained here."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import transformers
from networks import export, export_dynamo, trained
from shared import produce
from torch import Tensor, nn

TRANSFORMER = {
    "image_size": 8,
    "patch_size": 2,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
STAGES = {"hidden_sizes": [16, 32], "depths": [1, 1]}


class Logits(nn.Module):
    """A classifier without the rest of what it answers."""

    def __init__(self, family: str, settings: dict) -> None:
        super().__init__()
        configuration = getattr(transformers, f"{family}Config")(num_channels=1, num_labels=10, **settings)
        self.network = getattr(transformers, f"{family}ForImageClassification")(configuration)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Logits."""
        return self.network(pixel_values=pixel_values).logits


def family(name: str, path: Path, dynamo: bool = False, rate: float = 5e-3, **settings) -> None:
    """Write one."""
    (export_dynamo if dynamo else export)(trained(partial(Logits, name, settings), epochs=6, rate=rate), path)


FILES = {
    "vit_dynamo": partial(family, "ViT", dynamo=True, **TRANSFORMER),
    "beit": partial(family, "Beit", rate=1e-3, use_relative_position_bias=True, **TRANSFORMER),
    "dinov2": partial(family, "Dinov2", **{k: v for k, v in TRANSFORMER.items() if k != "intermediate_size"}),
    "convnextv2": partial(family, "ConvNextV2", patch_size=1, num_stages=2, **STAGES),
    "resnet": partial(
        family, "ResNet", embedding_size=16, layer_type="basic", downsample_in_first_stage=False, **STAGES
    ),
    "swin": partial(
        family, "Swin", image_size=8, patch_size=1, embed_dim=16, depths=[2, 1], num_heads=[2, 2], window_size=4
    ),
    "poolformer": partial(
        family,
        "PoolFormer",
        hidden_sizes=[16, 32],
        depths=[1, 1],
        num_encoder_blocks=2,
        patch_sizes=[3, 3],
        strides=[2, 2],
        padding=[1, 1],
    ),
}

produce(FILES)
