"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour images, 32×32, 10 or 100 (fine) classes.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base import DataConfig, Dataset, datasets
from ..divide import divide
from ..images import refuse_resize
from ..published import Published

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10


@datasets.register("cifar10")
def cifar10(config: DataConfig) -> Dataset:
    """Load CIFAR-10 from `ROOT/cifar-10-batches-py`."""
    from torchvision.datasets import CIFAR10

    return _load(config, "cifar10", CIFAR10)


@datasets.register("cifar100")
def cifar100(config: DataConfig) -> Dataset:
    """Load CIFAR-100 from `ROOT/cifar-100-python`."""
    from torchvision.datasets import CIFAR100

    return _load(config, "cifar100", CIFAR100)


def _load(config: DataConfig, name: str, kind: type[CIFAR10]) -> Dataset:
    refuse_resize(config, 32, 32)
    # All MD5s are checked before torchvision unpickles anything.
    meta = (kind.meta["filename"], kind.meta["md5"])
    parts = {f"{kind.base_folder}/{file}": md5 for file, md5 in (*kind.train_list, *kind.test_list, meta)}
    files = Published(
        name, lambda root: parts, lambda folder: kind(folder, download=True), {kind.filename: kind.tgz_md5}
    )
    with files.found(config) as found:
        train, test = (kind(found.folder, train=train) for train in (True, False))
    images, test_images = (part.data.transpose(0, 3, 1, 2) for part in (train, test))
    return divide(
        name,
        train.classes,
        images,
        train.targets,
        config,
        test=(test_images, test.targets),
        sources=found.sources,
    )
