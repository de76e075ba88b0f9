"""The 8-bit threat model, against a linear classifier whose robustness is known in closed form."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeproof.stages.data import Split
from edgeproof.stages.eight_bit import nearest_inside, towards, whole_steps
from edgeproof.stages.norms.base import norms
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Attacked, Evaluation, VerifyConfig, attack_subject
from edgeproof.stages.verify.subject.subject import OpenedSubject, in_batches
from torch import nn


def test_every_pixel_goes_to_the_grid_towards_the_clean_one_and_not_past_it():
    random = np.random.default_rng(0)
    clean = random.random((20, 1, 4, 4), np.float32)
    clean[:10] = np.rint(clean[:10] * 255) / 255
    images = np.clip(clean + random.uniform(-0.05, 0.05, clean.shape), 0, 1).astype(np.float32)
    found = towards(images, clean)
    for pixel, own, image in zip(found.flat, clean.flat, images.flat, strict=True):
        steps = Fraction(float(image)) * 255
        nearest = (math.ceil if image < own else math.floor)(steps)
        between = sorted((float(image), float(own)))
        inside = between[0] - 1e-6 <= nearest / 255 <= between[1] + 1e-6
        assert pixel == pytest.approx(nearest / 255 if inside else own, abs=1e-6)
    assert (np.abs(found - clean) <= np.abs(images - clean) + 1e-6).all()
    assert np.array_equal(towards(found, clean), found)


@pytest.mark.parametrize(("norm", "eps"), [("L2", 0.05), ("L2", 2.5 / 255), ("Linf", 8 / 255), ("Linf", 7.5 / 255)])
def test_the_nearest_8_bit_image_that_a_ball_holds(norm: str, eps: float):
    random = np.random.default_rng(2)
    clean = np.rint(random.uniform(0.2, 0.8, (40, 1, 4, 4)) * 255) / 255
    geometry = norms[norm]
    delta = torch.from_numpy(random.normal(size=clean.shape) / 255 * 4)
    images = (clean + geometry.clip(delta, eps).numpy()).astype(np.float32)
    found = nearest_inside(images, clean.astype(np.float32), geometry, eps)
    moved = np.rint((found - clean) * 255)
    assert np.abs((found - clean) * 255 - moved).max() < 1e-3
    order = np.inf if norm == "Linf" else 2
    sizes = np.linalg.norm(moved.reshape(40, -1), order, axis=1)
    assert (sizes <= eps * 255 + 1e-3).all()
    # Nearer to the image than what is rounded towards the clean one; where the ball holds the nearest, that one.
    nearest, safe = np.rint(images * 255), np.rint(towards(images, clean.astype(np.float32)) * 255)
    holds = np.linalg.norm((nearest - clean * 255).reshape(40, -1), order, axis=1) <= eps * 255 + 1e-3
    assert np.array_equal(np.rint(found * 255)[holds], nearest[holds])
    off = [np.abs(each - images * 255).reshape(40, -1).sum(1) for each in (np.rint(found * 255), safe)]
    assert (off[0] <= off[1] + 1e-3).all()
    assert (off[0] < off[1] - 0.5).any()


@pytest.mark.parametrize(("eps", "steps"), [(8 / 255, 8), (np.float32(8 / 255), 8), (0.1, 25), (0.003, 0), (1.0, 255)])
def test_a_ball_holds_whole_steps(eps: float, steps: int):
    assert whole_steps(eps) * 255 == pytest.approx(steps)


class Linear:
    """A subject of two classes: the sign of a weighted sum."""

    name = "linear"

    def __init__(self, weights: np.ndarray) -> None:
        self.layer = nn.Linear(weights.size, 2, bias=False)
        self.layer.weight.data = torch.from_numpy(np.stack([weights, -weights])).float() / 2
        self.layer.bias = nn.Parameter(torch.tensor([-weights.sum() / 4, weights.sum() / 4]).float())

    def open(self) -> OpenedSubject:
        model = nn.Sequential(nn.Flatten(), self.layer).eval().requires_grad_(False)
        return OpenedSubject(in_batches(model), {"autograd": model}, 2)

    def predictor(self):
        return self.open().predict


def test_both_figures_are_the_known_ones(tmp_path: Path):
    random = np.random.default_rng(1)
    weights = random.normal(size=16)
    eps = 2.9 / 255
    # Margins about as large as the ball can move them; pixels on the grid and away from black and white.
    images = np.rint(random.uniform(0.4, 0.6, (400, 1, 4, 4)) * 255) / 255
    margins = (images.reshape(400, 16) - 0.5) @ weights
    reach = np.abs(weights).sum() / 255
    near = (np.abs(np.abs(margins) - 2.9 * reach) > 0.02 * reach) & (np.abs(np.abs(margins) - 2 * reach) > 0.02 * reach)
    chosen = np.flatnonzero(near & (np.abs(margins) < 6 * reach))[:60]
    split = Split(images[chosen].astype(np.float32), (margins[chosen] < 0).astype(np.int64), chosen)
    threat = ThreatModel(norm="Linf", eps=eps)
    attack_subject(Linear(weights), Evaluation(split, threat, VerifyConfig(square_queries=500)), ("apgd-ce",), tmp_path)
    found = Attacked.load(tmp_path)
    size = np.abs(margins[chosen])
    assert found.clean_correct.all()
    assert np.array_equal(found.robust, size > 2.9 * reach)
    assert np.array_equal(found.eight_bit, size > 2 * reach)
    assert 0 < found.robust.sum() < found.eight_bit.sum() < len(chosen), "the two differ, and neither is trivial"
