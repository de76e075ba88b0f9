"""timm's small networks of every family, by torch's TorchScript exporter."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import timm
from networks import export, trained
from shared import produce


def network(name: str, **options):
    """A network of timm for grey images of 8 by 8."""
    return timm.create_model(name, in_chans=1, num_classes=10, **options)


def family(name: str, path: Path, rate: float = 5e-3, **options) -> None:
    """Write one."""
    export(trained(partial(network, name, **options), epochs=5, rate=rate), path)


VIT = {"img_size": 8, "patch_size": 2}

FILES = {
    "vit": partial(family, "test_vit", rate=1e-3, **VIT),
    "resnet": partial(family, "test_resnet"),
    "convnext": partial(family, "test_convnext", patch_size=1),
    "efficientnet": partial(family, "test_efficientnet"),
    "efficientnet_evos": partial(family, "test_efficientnet_evos"),
    "nfnet": partial(family, "test_nfnet"),
    "mambaout": partial(family, "test_mambaout"),
}

produce(FILES)
