"""Positions of running shards: told from every process, and without a trace in what the attacks find."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.verify import Evaluation, TorchSubject, VerifyConfig, Workforce, attack_subject, position
from edgeproof.stages.verify.attack import Attacked
from edgeproof.stages.verify.position import Position, told
from edgeproof.stages.verify.shards import run_shards as shards_module

CONFIG = VerifyConfig(square_queries=100, shard_size=15)


@pytest.mark.parametrize("workers", [1, 2])
def test_shards_tell_where_they_are_and_find_the_same_to_the_last_bit(
    student: Classifier, digits: Dataset, threat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
):
    monkeypatch.setattr(shards_module, "_OFTEN", 0.02)
    seen: list[Position] = []

    def progress(done: int, total: int, samples: int, robust: int, running: Sequence[Position]) -> None:
        assert done + len(running) <= total
        seen.extend(running)

    evaluation = Evaluation(digits.test.take(slice(0, 30)), threat, CONFIG)
    for name, workforce in (("told", Workforce(workers, progress)), ("untold", Workforce(1))):
        (tmp_path / name).mkdir()
        subject, folder = TorchSubject("student", student), tmp_path / name
        attack_subject(subject, evaluation, ("apgd-ce", "square"), folder, workforce=workforce)
    one, other = (Attacked.load(tmp_path / name) for name in ("told", "untold"))
    assert {*one.bits} == {*other.bits}
    for route, bits in one.bits.items():
        assert bits.tolist() == other.bits[route].tolist()
    assert one.candidates.images.tobytes() == other.candidates.images.tobytes()
    assert {each.attack for each in seen} & {"apgd-ce", "square", "checks"}
    assert all(each.samples == 15 and 0 <= each.left <= 15 and 0 <= each.share <= 1 for each in seen)
    robust = int(one.robust.sum())
    assert all(each.left >= robust - 15 for each in seen), "an upper bound of what will be left"
    assert [path.name for path in tmp_path.rglob("*.position")] == []


def test_the_share_grows_from_route_to_route_and_with_the_images_asked_about(tmp_path: Path):
    path, shares = tmp_path / "0.position", []

    def look() -> None:
        found = Position.read(path)
        assert found is not None
        shares.append(found.share)

    model = torch.nn.Identity()
    with told(path):
        position.plan(8, ["replay", "whitebox", position.CHECKS])
        position.part("replay", 8)
        look()
        position.part("whitebox", 7)
        position.steps(["apgd-ce", "apgd-t"])
        position.step("apgd-ce", 7 * 100)
        look()
        with position.counting(model):
            model(torch.zeros(7 * 50, 1))
        position.fell(2)
        position.step("apgd-t", 5 * 100)
        look()
        assert Position.read(path) == Position("apgd-t", 8, 5, shares[-1])
        position.part(position.CHECKS, 5)
        position.step("square", 10)
        position.fell(3)
        position.ask(10)
        position.part(position.CHECKS, 5)
        look()
        assert json.loads(path.read_text())["left"] == 5, "checks take no sample away"
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] < 1.001
    assert not path.exists()
    model(torch.zeros(1, 1))  # nobody counts any more


def test_nothing_is_told_where_nobody_listens_and_an_unwritable_place_stops_no_attack(tmp_path: Path):
    position.plan(3, ["square"])
    position.part("square", 3)
    position.step("square", 9)
    position.ask(3)
    with told(tmp_path / "missing" / "0.position"):
        position.plan(3, ["square"])
        position.part("square", 3)
    (tmp_path / "torn").write_text('{"attack": "sq')
    assert Position.read(tmp_path / "torn") is None
    assert Position.read(tmp_path / "none") is None
