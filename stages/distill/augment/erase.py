"""Random erasing: a black rectangle of random size and shape.

Source: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020 (arXiv 1708.04896), as torchvision's RandomErasing
has it, which IDBH uses.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .draw import below, chosen, per_image
from .operation import Probability, operation
from .region import rectangle

# torchvision's defaults: the erased fraction of the area, the rectangle's height over its width, the tries.
AREA = (0.02, 0.33)
ASPECT = (0.3, 3.3)
TRIES = 10


@operation("erase", Probability(0.5))
def random_erase(images: Tensor, probability: float = 0.5) -> Tensor:
    """Blacken a rectangle in each image, with a probability.

    Area and logarithm of the aspect ratio are uniform, drawn again until the rectangle is smaller than the image, ten
    times at most; then the image stays as it is. All as in torchvision, with the ten tries drawn at once.
    """
    count, _, height, width = images.shape
    area = torch.empty(count, TRIES, device=images.device).uniform_(*AREA) * height * width
    aspect = torch.empty(count, TRIES, device=images.device).uniform_(math.log(ASPECT[0]), math.log(ASPECT[1])).exp()
    rows, columns = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    fits = (rows < height) & (columns < width)
    first = fits.int().argmax(dim=1, keepdim=True)
    # Where no try fits, the positions below still need a bound of one at least.
    rows, columns = (sizes.gather(1, first)[:, 0].clamp(max=side) for sizes, side in ((rows, height), (columns, width)))
    hole = rectangle(images, below(height - rows + 1), below(width - columns + 1), rows, columns)
    erased = chosen(images, probability) & fits.any(dim=1)
    return images.masked_fill(hole & per_image(erased), 0)
