"""The random search keeps to the ball, only ever comes nearer, and spends its queries where they may help."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify.attacks.random_search import random_search

SHAPE = (2, 6, 5)
COUNT = 8


class Model:
    """Margins that fall towards a hidden image and with a ripple on the way; keeps what it is asked."""

    def __init__(self, far: float) -> None:
        self.goal = np.random.default_rng(1).uniform(0, 1, (COUNT, *SHAPE)).astype(np.float32)
        self.far = far
        self.asked = np.zeros(COUNT, int)
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        self.asked[rows] += 1
        self.seen.append((images, rows))
        gap = (images - self.goal[rows]).reshape(len(rows), -1)
        found = self.far + (gap**2).sum(1) + 0.05 * np.sin(100 * gap).sum(1)
        return np.where(found > 0, found, -np.inf)


@pytest.fixture
def clean() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (COUNT, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.1), ("L2", 0.7)])
def test_it_comes_nearer_within_the_ball(norm, eps: float, clean: np.ndarray):
    model = Model(far=100)
    points, rows = clean.copy(), np.arange(COUNT)
    before = model(points, rows)
    margins = before.copy()
    random_search(model, clean, points, margins, ThreatModel(norm=norm, eps=eps), queries=800, seed=0)
    assert (margins < before - 1).all()
    np.testing.assert_array_equal(margins, model(points, rows))
    for images, of in model.seen:
        assert images.dtype == np.float32
        assert images.min() >= 0
        assert images.max() <= 1
        delta = (images - clean[of]).reshape(len(of), -1)
        size = np.abs(delta).max() if norm == "Linf" else np.linalg.norm(delta, axis=1).max()
        assert size <= eps + 1e-5


def test_a_quarter_gets_all_queries_another_half_of_them_later_and_all_a_quarter(clean: np.ndarray):
    model = Model(far=100)
    points, rows = clean.copy(), np.arange(COUNT)
    margins = model(points, rows)
    model.asked[:] = 0
    random_search(model, clean, points, margins, ThreatModel(norm="Linf", eps=0.1), queries=80, seed=0)
    assert sorted(model.asked) == [20, 20, 20, 20, 60, 60, 140, 140]
    assert set(np.argsort(margins)[:2]) == set(np.flatnonzero(model.asked == 140)), "the nearest"


def test_who_has_fallen_is_left_alone_and_who_is_level_is_not(clean: np.ndarray):
    asked: list[int] = []

    def ask(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return np.zeros(len(rows))

    margins = np.where(np.arange(COUNT) < 3, -np.inf, 0.0)
    points = clean.copy()
    random_search(ask, clean, points, margins, ThreatModel(norm="Linf", eps=0.1), queries=8, seed=0)
    assert set(asked) == set(range(3, COUNT))
    np.testing.assert_array_equal(points[:3], clean[:3])


def test_the_seed_says_what_is_found(clean: np.ndarray):
    def ends(seed: int) -> np.ndarray:
        model, points = Model(far=100), clean.copy()
        margins = model(points, np.arange(COUNT))
        random_search(model, clean, points, margins, ThreatModel(norm="Linf", eps=0.1), queries=40, seed=seed)
        return points

    np.testing.assert_array_equal(ends(3), ends(3))
    assert (ends(3) != ends(4)).any()
