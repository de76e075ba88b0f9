"""What every producer shares: the training images, and files written by name.

A producer is run by `benchmarks/foreign.py` inside its own environment, with numpy and without edgeproof:

    python PRODUCER.py TRAIN.npz FOLDER NAME...
"""

from __future__ import annotations

import os
import random
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

_train = np.load(sys.argv[1])
FOLDER = Path(sys.argv[2])

#: Float32 `[M, 1, 8, 8]` in [0, 1], and their classes, int64 `[M]`. Noisy copies make the networks withstand a little.
IMAGES: np.ndarray = _train["images"]
LABELS: np.ndarray = _train["labels"]
#: How strong the channels of the coloured images are: red, green, blue.
TINT = np.array([1.0, 0.7, 0.4], np.float32)


def tinted(images: np.ndarray) -> np.ndarray:
    """The images in colour, `[M, 3, 8, 8]`."""
    return images * TINT[None, :, None, None]


def source(name: str) -> Path:
    """A file of another producer, which came before this one: `torch_script/vit_opset17`."""
    return FOLDER.parent / f"{name}.onnx"


class Calibration:
    """Training images in batches, as the readers of ONNX Runtime's quantizer are asked for them."""

    def __init__(self, name: str = "images", count: int = 256, size: int = 32) -> None:
        chosen = IMAGES[:: len(IMAGES) // count][:count]
        self._feeds = [{name: chosen[start : start + size]} for start in range(0, count, size)]
        self.rewind()

    def rewind(self) -> None:
        """Begin anew."""
        self._left = iter(self._feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None."""
        return next(self._left, None)

    def __iter__(self):
        return iter(self._feeds)

    def __len__(self) -> int:
        return len(self._feeds)


def produce(files: Mapping[str, Callable[[Path], object]]) -> None:
    """Write the files that are asked for; one that cannot be written leaves its traceback beside."""
    for name in sys.argv[3:]:
        # An extension says another format; ONNX is understood.
        path = FOLDER / (name if name.endswith(".ort") else f"{name}.onnx")
        random.seed(0)
        np.random.seed(0)
        try:
            files[name](path)
        except Exception:
            (FOLDER / f"{name}.failed").write_text(traceback.format_exc())
        print(name, "written" if path.exists() else "FAILED", flush=True)
