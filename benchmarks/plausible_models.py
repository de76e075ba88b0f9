"""False alarms of the plausibility check on honest weak models: small networks trained for a moment, seed by seed.

    python benchmarks/plausible_models.py

Fifty networks on the digits, from hardly better than chance to good, and what the check says of each; and the same
networks with a planted fault: pixels in [-1, 1], classes in another order. Then on digits in colours, where more can be
wrong at once: blue first, images on their side.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from edgeproof.pipeline.request.clean_answers import IMAGES
from edgeproof.pipeline.request.other_pixels import usual_variants
from edgeproof.stages.adapt import AdapterConfig
from edgeproof.stages.data import DataConfig, Dataset, Split, load_dataset
from edgeproof.stages.models import build_model
from edgeproof.stages.plausibility import Plausibility, plausibility
from torch import nn

BATCH = 64
Wants = Callable[[np.ndarray], np.ndarray]


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


def coloured(data: Dataset) -> Dataset:
    """The digits in colours that say something of the class: odd ones are rather red, even ones rather blue."""
    rng = np.random.default_rng(0)

    def painted(split: Split) -> Split:
        warmth = np.where(split.labels % 2, 0.7, 0.3) + rng.normal(0, 0.2, len(split))
        tints = np.stack([warmth, np.full(len(split), 0.5), 1 - warmth], 1).clip(0, 1)[:, :, None, None]
        return replace(split, images=(split.images * tints).astype(np.float32))

    train, validation, test = (painted(split) for split in (data.train, data.validation, data.test))
    return replace(data, train=train, validation=validation, test=test)


def in_half(images: np.ndarray) -> np.ndarray:
    """Pixels in [0, 1] of those in [-1, 1]."""
    return (images + 1) / 2


def answer(network: nn.Module, order: np.ndarray, wants: Wants, images: np.ndarray) -> np.ndarray:
    """Logits of a network behind a planted fault."""
    with torch.no_grad():
        return network(torch.from_numpy(np.ascontiguousarray(wants(images), np.float32))).numpy()[:, order]


def verdict(found: Plausibility) -> str:
    """The finding in a word."""
    if found.better is not None:
        return f"looks-unnormalised ({found.better[0].said})"
    if found.permuted is not None:
        return "labels-permuted"
    return "guesses" if found.guesses else "nothing"


def main() -> None:
    """Read how many networks, and print what is said of how many of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=50)
    models = parser.parse_args().models
    torch.set_num_threads(1)
    digits = load_dataset(DataConfig(dataset="digits"))
    straight, rolled = np.arange(10), np.roll(np.arange(10), 1)
    cases: list[tuple[str, np.ndarray, Wants]] = [
        ("honest", straight, lambda images: images),
        ("wants pixels in [-1, 1]", straight, in_half),
        ("classes moved by one", rolled, lambda images: images),
    ]
    more: list[tuple[str, np.ndarray, Wants]] = [
        ("wants blue first, in [-1, 1]", straight, lambda images: in_half(images)[:, ::-1]),
        ("wants images on their side, in [-1, 1]", straight, lambda images: in_half(images).transpose(0, 1, 3, 2)),
    ]
    report(digits, cases, models)
    report(coloured(digits), [(f"in colours: {name}", *rest) for name, *rest in [*cases, *more]], models)


def report(data: Dataset, cases: list[tuple[str, np.ndarray, Wants]], models: int) -> None:
    """Print what is said of the networks of a data set, one line a fault."""
    split = data.test.take(np.arange(IMAGES))
    variants = list(usual_variants(split.images, AdapterConfig()))
    networks = [trained(data, seed, steps=3 + 2 * seed) for seed in range(models)]
    for name, order, wants in cases:
        said: Counter[str] = Counter()
        accuracies: list[float] = []
        for network in networks:
            found = plausibility(partial(answer, network, order, wants), split, variants)
            said[verdict(found)] += 1
            accuracies.append(found.correct / found.count)
        middle = ", ".join(f"{value:.2f}" for value in np.quantile(accuracies, (0, 0.25, 0.5, 0.75, 1)))
        print(f"{name}: {dict(said)}; clean accuracy (quartiles) {middle}", flush=True)


if __name__ == "__main__":
    main()
