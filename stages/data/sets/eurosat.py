"""EuroSAT, RGB: 27,000 satellite images, 64×64, 10 classes of land use.

Source: P. Helber et al., "EuroSAT", IEEE J-STARS 12, 2019. It has no test split of its own; ours is a fifth, drawn by
class, always the same.
"""

from __future__ import annotations

from ..base import DataConfig, Dataset, datasets
from ..divide import divide
from ..folders import check_count, class_folders
from ..images import ImageFiles
from ..published import Published

IMAGE_SIZE = 64
PUBLISHED = 27000

_IMAGES = "eurosat/2750"


@datasets.register("eurosat")
def eurosat(config: DataConfig) -> Dataset:
    """Load EuroSAT from `ROOT/eurosat/2750`, resized to `image_size` if that is not 64."""
    from torchvision.datasets import EuroSAT

    files = Published(
        "eurosat",
        lambda root: {_IMAGES: None},
        lambda folder: EuroSAT(folder, download=True),
        {"eurosat/EuroSAT.zip": None},
    )
    with files.found(config) as found:
        listed = class_folders(found.folder / _IMAGES)
        check_count("eurosat", listed.folder, len(listed.paths), PUBLISHED)
        images = ImageFiles(listed.paths, config.sides or (IMAGE_SIZE, IMAGE_SIZE), config.grey)
        dataset = divide("eurosat", listed.class_names, images, listed.labels, config, sources=found.sources)
        return dataset if found.stays else dataset.decoded
