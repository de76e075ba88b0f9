"""Street View House Numbers, cropped digits: 73,257 + 26,032 colour images, 32×32, 10 classes.

Source: Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011. Its 531,131
"extra" images are not used.
"""

from __future__ import annotations

from pathlib import Path

from ..base import DataConfig, Dataset, datasets
from ..divide import divide
from ..images import refuse_resize
from ..published import Published


@datasets.register("svhn")
def svhn(config: DataConfig) -> Dataset:
    """Load SVHN from `ROOT/train_32x32.mat` and `ROOT/test_32x32.mat`; class names are the digits 0 to 9."""
    from torchvision.datasets import SVHN

    refuse_resize(config, 32, 32)
    kinds = ("train", "test")
    parts = {SVHN.split_list[kind][1]: SVHN.split_list[kind][2] for kind in kinds}

    def download(folder: Path) -> None:
        for kind in kinds:
            SVHN(folder, kind, download=True)

    with Published("svhn", lambda root: parts, download).found(config) as found:
        train, test = (SVHN(found.folder, kind) for kind in kinds)
    names = [str(digit) for digit in range(10)]
    return divide("svhn", names, train.data, train.labels, config, test=(test.data, test.labels), sources=found.sources)
