"""Our way of running AutoAttack, one attack at a time, against pyautoattack run directly."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import TorchSubject, VerifyConfig
from edgeproof.stages.verify.attacks.autoattack import STANDARD, inside, run_attack
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.shards.shard import attack_shard
from pyautoattack import AutoAttack
from pyautoattack.state import EvaluationState
from torch import nn


@pytest.mark.slow
@pytest.mark.parametrize("threat", [ThreatModel(eps=0.1), ThreatModel(norm="L2", eps=0.5)], ids=["Linf", "L2"])
def test_flags_equal_autoattack_standard_attack_by_attack(
    student: Classifier, digits: Dataset, threat: ThreatModel, monkeypatch: pytest.MonkeyPatch
):
    split = digits.test.take(slice(0, 24))
    config = VerifyConfig(square_queries=300)
    ours = attack_shard(
        TorchSubject("student", student), split, threat, config, STANDARD, Candidates.none(split.images.shape[1:])
    )
    x, y = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    flags: dict[str, np.ndarray] = {}
    ended = EvaluationState.add_run_attack

    def keep_flags(state: EvaluationState, attack: str) -> None:
        ended(state, attack)
        assert state.robust_flags is not None
        flags[attack] = state.robust_flags.numpy().copy()

    monkeypatch.setattr(EvaluationState, "add_run_attack", keep_flags)
    direct = AutoAttack(student.load(), norm=threat.norm, eps=threat.eps, seed=0, version="standard")
    assert list(direct.attacks_to_run) == list(STANDARD)
    direct.square.n_queries = 300
    _, labels = direct.run_standard_evaluation(x, y, batch_size=24)
    assert list(flags) == list(STANDARD)
    for attack, robust in flags.items():
        assert np.array_equal(ours.bits[attack], robust), attack
    assert np.array_equal(ours.bits[STANDARD[-1]], (labels == y).numpy())


def test_candidates_are_kept_of_winners_and_losers_inside_the_ball(student: Classifier, digits: Dataset, threat):
    split = digits.test.take(slice(0, 30))
    model = student.load()
    x, y = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    kept = model(x).argmax(1) == y
    x, y, index = x[kept], y[kept], split.index[kept.numpy()]
    run = run_attack("apgd-ce", model, x, y, index, threat, classes=10, seed=0)
    assert sorted(run.candidates.index.tolist()) == sorted(index.tolist())  # every sample, fooled or not
    row = {name: position for position, name in enumerate(index.tolist())}
    rows = [row[name] for name in run.candidates.index.tolist()]
    found = torch.from_numpy(run.candidates.images)
    assert (found - x[rows]).abs().max() <= threat.eps + 1e-6
    # The losers moved too, and their loss is above the clean one's.
    losers = model(found).argmax(1) == y[rows]
    assert losers.any()
    loss = nn.functional.cross_entropy
    for position in losers.nonzero()[:, 0].tolist():
        clean = loss(model(x[rows[position] : rows[position] + 1]), y[rows[position] : rows[position] + 1])
        moved = loss(model(found[position : position + 1]), y[rows[position] : rows[position] + 1])
        assert moved > clean


def test_the_same_image_twice_is_filed_twice(student: Classifier, digits: Dataset, threat: ThreatModel):
    x, y = (
        torch.from_numpy(digits.test.images[:2].repeat(2, axis=0)),
        torch.from_numpy(digits.test.labels[:2].repeat(2)),
    )
    run = run_attack("apgd-ce", student.load(), x, y, np.array([3, 5, 8, 9]), threat, classes=10, seed=0)
    assert set(run.candidates.index.tolist()) == {3, 5, 8, 9}


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_few_classes_do_not_break_the_targeted_attacks(classes: int, digits: Dataset, threat: ThreatModel):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).requires_grad_(False)
    x = torch.from_numpy(digits.test.images[:8])
    y = model(x).argmax(1)
    for attack in ("apgd-t", "fab-t"):
        run = run_attack(attack, model, x, y, np.arange(8), threat, classes=classes, seed=0)
        skipped = attack == "apgd-t" and classes < 4
        assert (len(run.candidates) == 0) == skipped
        assert ("no-targeted-dlr" in run.warnings) == skipped


def test_the_callers_state_is_left_alone(student: Classifier, digits: Dataset, threat: ThreatModel):
    def tracer(frame, event, argument):
        return None

    x, y = torch.from_numpy(digits.test.images[:4]), torch.from_numpy(digits.test.labels[:4])
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        run_attack("apgd-ce", student.load(), x, y, digits.test.index[:4], threat, classes=10, seed=0)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda logits: logits.softmax(1), "probabilities"),
        (lambda logits: logits + torch.randn_like(logits), "randomised"),
    ],
)
def test_what_autoattack_says_against_a_model_is_heard(student, digits, threat, spoil, name):
    model = student.load()
    x, y = torch.from_numpy(digits.test.images[:8]), torch.from_numpy(digits.test.labels[:8])
    run = run_attack("apgd-ce", lambda z: spoil(model(z)), x, y, digits.test.index[:8], threat, classes=10, seed=0)
    assert name in run.warnings


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_what_left_the_ball_is_put_back_and_the_rest_kept(norm: str):
    threat = ThreatModel(norm=norm, eps=0.2)
    x = torch.full((2, 1, 1, 2), 0.5)
    delta = torch.tensor([[0.1, 0.0], [0.6, 0.0]]).view(2, 1, 1, 2)
    found = inside(x + delta, x, threat)
    assert torch.equal(found[0], (x + delta)[0])
    assert torch.allclose(found[1], x[1] + torch.tensor([0.2, 0.0]).view(1, 1, 2))


def test_targets_that_share_a_batch_break_what_they_break_one_by_one(student: Classifier, digits: Dataset):
    """All random starts but the first target's are others, so on samples that are nobody's luck."""
    model, threat = student.load(), ThreatModel(eps=0.15)
    x, y = torch.from_numpy(digits.test.images[:16]), torch.from_numpy(digits.test.labels[:16])
    kept = model(x).argmax(1) == y
    arguments = (model, x[kept], y[kept], digits.test.index[:16][kept.numpy()], threat)
    calls: list[int] = []
    model.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    one_by_one = run_attack("apgd-t", *arguments, classes=10, seed=0)
    before = len(calls)
    together = run_attack("apgd-t", *arguments, classes=10, seed=0, short_cuts=True)
    assert len(calls) - before < before / 3, "far fewer batches"
    broken = [model(run.x_adv).argmax(1) != y[kept] for run in (one_by_one, together)]
    assert 0 < int(broken[0].sum()) < len(broken[0])
    assert int((broken[0] != broken[1]).sum()) <= 1
    targets = np.unique(together.candidates.index, return_counts=True)[1]
    assert targets.max() == 9, "every target's end point is kept"


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_fab_finds_what_autoattacks_finds_one_target_after_another(student: Classifier, digits: Dataset, norm: str):
    model, threat = student.load(), ThreatModel(norm=norm, eps=0.15 if norm == "Linf" else 0.8)
    x, y = torch.from_numpy(digits.test.images[:16]), torch.from_numpy(digits.test.labels[:16])
    kept = model(x).argmax(1) == y
    x, y, index = x[kept], y[kept], digits.test.index[:16][kept.numpy()]
    reference = AutoAttack(model, norm=norm, eps=threat.eps, seed=0, device="cpu")
    reference.attacks_to_run = ["fab-t"]
    expected, _ = reference.run_standard_evaluation(x, y)
    run = run_attack("fab-t", model, x, y, index, threat, classes=10, seed=0)
    assert 0 < int((model(expected).argmax(1) != y).sum()) < len(y)
    torch.testing.assert_close(run.x_adv, expected, atol=1e-4, rtol=0)
    assert np.unique(run.candidates.index, return_counts=True)[1].max() == 9, "every target's end point is kept"


def test_fab_goes_on_where_answers_change_between_two_calls(student: Classifier, digits: Dataset, threat: ThreatModel):
    model = student.load()
    x, y = torch.from_numpy(digits.test.images[:8]), torch.from_numpy(digits.test.labels[:8])
    random = torch.Generator().manual_seed(0)

    def wavering(images: torch.Tensor) -> torch.Tensor:
        return model(images) + 8 * torch.randn(len(images), 10, generator=random)

    run = run_attack("fab-t", wavering, x, y, digits.test.index[:8], threat, classes=10, seed=0)
    assert run.x_adv.shape == x.shape


@pytest.mark.parametrize("times", range(1, 9))
def test_a_model_that_gets_everything_wrong_by_now_ends_the_targeted_attacks(times: int, threat: ThreatModel):
    """It answers AutoAttack's own questions rightly, so many times, and no other."""

    class Tired(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return (1 if self.calls <= times else -1) * (torch.eye(5)[0] + x.flatten(1)[:, :5])

    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    run = run_attack("fab-t", Tired(), x, torch.zeros(3, dtype=torch.long), np.arange(3), threat, classes=5, seed=0)
    assert len(run.x_adv) == 3
