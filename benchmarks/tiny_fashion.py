"""Fashion-MNIST at 8x8 pixels, as arrays: thousands of test images that AutoAttack goes through in minutes.

    python benchmarks/tiny_fashion.py --data-root DATA --out tiny.npz
    edgeproof compile benchmarks/tiny_fashion.yaml --data-root tiny.npz
    python benchmarks/verify.py --model runs/tiny-fashion/quantize/u8s8/model.onnx --dataset tiny.npz --eps 0.05 \\
        --only gate --rounds 1

A pixel is the mean of 4x4, every 3.5 pixels, rounded to 8 bits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from edgeproof.stages.data import DataConfig, Split, load_dataset


def shrunk(split: Split, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images at 8x8, uint8 `[count, 8, 8, 1]`, and their labels."""
    small = F.adaptive_avg_pool2d(torch.from_numpy(split.images[:count]), 8)
    return (small * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(), split.labels[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", help="a folder of local copies of the data sets")
    parser.add_argument("--out", type=Path, default=Path("tiny.npz"))
    parser.add_argument("--train", type=int, default=20_000, help="training images")
    parser.add_argument("--test", type=int, default=10_000, help="test images")
    arguments = parser.parse_args()
    data = load_dataset(DataConfig(dataset="fashion_mnist", root=arguments.data_root))
    train_images, train_labels = shrunk(data.train, arguments.train)
    images, labels = shrunk(data.test, arguments.test)
    np.savez_compressed(
        arguments.out, train_images=train_images, train_labels=train_labels, images=images, labels=labels
    )


if __name__ == "__main__":
    main()
