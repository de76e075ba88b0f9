"""The lean FAB against pyautoattack's own, and its projection against a linear program's optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeproof.stages.bpda import BPDA
from edgeproof.stages.verify.attacks.fast_fab import _project_linf, fab_single_run
from pyautoattack.fab_projections import projection_linf
from pyautoattack.fab_pt import FABAttack_PT
from scipy.optimize import linprog
from torch import Tensor, nn


class Counting(nn.Module):
    """A small network whose answers do not depend on the batch, and how many images it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5)).requires_grad_(
            False
        )
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return self.net.double()(images.double()).float()


def attack_on(model: nn.Module, x: Tensor, norm: str) -> FABAttack_PT:
    return FABAttack_PT(model, norm=norm, eps=0.1, n_iter=40, n_target_classes=4, targeted=True, device=x.device)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize(("norm", "apart"), [("Linf", 1e-4), ("L2", 0.0)])
def test_it_ends_where_pyautoattack_ends(norm: str, apart: float, random_start: bool, images: Tensor):
    model = Counting()
    logits = model(images)
    y, aims = logits.argmax(1), logits.argsort(1)[:, -3]
    attack = attack_on(model, images, norm)
    attack.target_class = 3
    torch.manual_seed(7)
    expected = attack.attack_single_run(images, y, use_rand_start=random_start, is_targeted=True)
    torch.manual_seed(7)
    found = fab_single_run(attack, images, y, aims, random_start=random_start)
    assert (model(expected).argmax(1) != y).all()
    torch.testing.assert_close(found, expected, atol=apart, rtol=0)


def test_a_model_with_a_stand_in_is_asked_only_about_new_images(images: Tensor):
    twin, engine = Counting(), Counting()
    y = engine(images).argmax(1)
    aims = (y + 1) % 5
    whole = fab_single_run(attack_on(twin, images, "Linf"), images, y, aims, random_start=False)
    engine.seen, steps = 0, 40
    with_stand_in = BPDA(engine, twin)
    found = fab_single_run(attack_on(with_stand_in, images, "Linf"), images, y, aims, random_start=False)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)
    wrong = engine.seen - (steps + 1) * len(images)  # one look at every step, one slope at the first, then the moved
    assert 0 < wrong < steps * len(images)


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.01), ("L2", 0.08)])
def test_only_walks_far_outside_the_ball_are_left(norm: str, eps: float):
    images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    model, quick = Counting(), Counting()
    y = model(images).argmax(1)
    aims = (y + 1) % 5

    def walked(model: nn.Module, *, leave_hopeless: bool) -> tuple[Tensor, Tensor]:
        attack = FABAttack_PT(model, norm=norm, eps=eps, n_iter=100, n_target_classes=4, targeted=True, device="cpu")
        ends = fab_single_run(attack, images, y, aims, random_start=False, leave_hopeless=leave_hopeless)
        delta = (ends - images).flatten(1)
        return ends, delta.abs().amax(1) if norm == "Linf" else delta.norm(dim=1)

    model.seen = 0
    ends, sizes = walked(model, leave_hopeless=False)
    found, lengths = walked(quick, leave_hopeless=True)
    assert (sizes <= eps).any()
    assert quick.seen < 0.8 * model.seen, "some are left"
    torch.testing.assert_close(found[sizes <= 1.5 * eps], ends[sizes <= 1.5 * eps], atol=0, rtol=0)
    assert (lengths >= sizes).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_projection_is_the_shortest_step(seed: int):
    random = np.random.default_rng(seed)
    point, clean = (random.uniform(size=(1, 9)) for _ in range(2))
    slope = random.normal(size=(1, 9)) * (random.uniform(size=(1, 9)) > 0.2)
    # Near planes, far ones, and one that no pixels of [0, 1] reach.
    for lead in (0.0, 0.01, -0.3, 1.0, -2.0, 50.0):
        arrays = [torch.tensor(array, dtype=torch.float64) for array in (point, clean, slope)]
        steps = _project_linf(*arrays, torch.tensor([lead], dtype=torch.float64))
        level = (slope * point).sum() - lead
        for start, step in zip((point[0], clean[0]), steps, strict=True):
            size = shortest(start, slope[0], level)
            end = start + step[0].numpy()
            assert ((end >= -1e-9) & (end <= 1 + 1e-9)).all()
            if size is None:
                towards = np.where(slope[0] @ start < level, slope[0] > 0, slope[0] < 0)
                expected = np.where(slope[0] == 0, start, towards)
                np.testing.assert_allclose(end, expected, atol=1e-9)
            else:
                assert slope[0] @ end == pytest.approx(level, abs=1e-5)
                assert step.abs().max().item() == pytest.approx(size, abs=1e-5)


def shortest(start: np.ndarray, slope: np.ndarray, level: float) -> float | None:
    """The largest change of a pixel that reaches the plane, by linear programming; None where it is out of reach."""
    count = len(start)
    ones = np.ones((count, 1))
    result = linprog(
        np.r_[np.zeros(count), 1],
        A_ub=np.block([[np.eye(count), -ones], [-np.eye(count), -ones]]),
        b_ub=np.r_[start, -start],
        A_eq=np.r_[slope, 0][None],
        b_eq=[level],
        bounds=[(0, 1)] * count + [(0, None)],
    )
    return float(result.fun) if result.success else None


def test_the_projection_equals_pyautoattacks():
    generator = torch.Generator().manual_seed(3)
    point, clean = (torch.rand(200, 64, generator=generator) for _ in range(2))
    slope = torch.randn(200, 64, generator=generator)
    lead = torch.randn(200, generator=generator) * torch.logspace(-3, 2, 200)
    level = (slope * point).sum(1) - lead
    expected = projection_linf(torch.cat([point, clean]), slope.repeat(2, 1), level.repeat(2))
    found = torch.cat(_project_linf(point, clean, slope, lead))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_slopes_that_are_no_numbers_leave_the_image_where_it_is(images: Tensor):
    class Broken(Counting):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return logits * torch.where(images[:, :1, 0, 0] > 0.5, torch.nan, 1.0)

    model = Broken()
    y = Counting()(images).argmax(1)
    found = fab_single_run(attack_on(model, images, "Linf"), images, y, (y + 1) % 5, random_start=False)
    assert torch.isfinite(found).all()
