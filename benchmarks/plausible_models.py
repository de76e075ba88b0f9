"""False alarms of the plausibility check on honest weak models: small networks trained for a moment, seed by seed.

    python benchmarks/plausible_models.py

Fifty networks on the digits, from hardly better than chance to good, and what the check says of each; and the same
networks with a planted fault: pixels in [-1, 1], classes in another order.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from edgeproof.pipeline.request.clean_answers import IMAGES, usual_variants
from edgeproof.stages.adapt import AdapterConfig
from edgeproof.stages.data import DataConfig, Dataset, load_dataset
from edgeproof.stages.models import build_model
from edgeproof.stages.plausibility import Plausibility, plausibility
from torch import nn

BATCH = 64


def trained(data: Dataset, seed: int, steps: int) -> nn.Module:
    """A network after some steps of SGD."""
    torch.manual_seed(seed)
    network = build_model("cnn8_small", data.image_shape, len(data.class_names), seed=seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    images, labels = torch.from_numpy(data.train.images), torch.from_numpy(data.train.labels)
    network.train()
    for _ in range(steps):
        rows = torch.randint(len(images), (BATCH,))
        optimizer.zero_grad()
        F.cross_entropy(network(images[rows]), labels[rows]).backward()
        optimizer.step()
    # A handful of steps leaves BatchNorm with statistics of its start, which no network has that somebody trained.
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        network(images)
    return network.eval()


def answer(network: nn.Module, order: np.ndarray, wants: str, images: np.ndarray) -> np.ndarray:
    """Logits of a network behind a planted fault."""
    pixels = (images + 1) / 2 if wants == "[-1, 1]" else images
    with torch.no_grad():
        return network(torch.from_numpy(np.ascontiguousarray(pixels, np.float32))).numpy()[:, order]


def verdict(found: Plausibility) -> str:
    """The finding in a word."""
    if found.better is not None:
        return "looks-unnormalised"
    if found.permuted is not None:
        return "labels-permuted"
    return "guesses" if found.guesses else "nothing"


def main() -> None:
    """Print what is said of how many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=50)
    models = parser.parse_args().models
    torch.set_num_threads(1)
    data = load_dataset(DataConfig(dataset="digits"))
    split = data.test.take(np.arange(IMAGES))
    variants = list(usual_variants(split.images, AdapterConfig()))
    straight, rolled = np.arange(10), np.roll(np.arange(10), 1)
    for name, order, wants in (
        ("honest", straight, "[0, 1]"),
        ("wants pixels in [-1, 1]", straight, "[-1, 1]"),
        ("classes moved by one", rolled, "[0, 1]"),
    ):
        said: Counter[str] = Counter()
        accuracies: list[float] = []
        for seed in range(models):
            network = trained(data, seed, steps=3 + 2 * seed)
            found = plausibility(partial(answer, network, order, wants), split, variants)
            said[verdict(found)] += 1
            accuracies.append(found.correct / found.count)
        middle = ", ".join(f"{value:.2f}" for value in np.quantile(accuracies, (0, 0.25, 0.5, 0.75, 1)))
        print(f"{name}: {dict(said)}; clean accuracy (quartiles) {middle}", flush=True)


if __name__ == "__main__":
    main()
