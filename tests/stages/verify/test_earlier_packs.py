"""Packs of earlier runs: read into this run's ball, about the same images only, and faced by every subject."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import Split
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Evaluation, VerifyConfig, attack_subject
from edgeproof.stages.verify.aggregate import Ledger, aggregate
from edgeproof.stages.verify.attack import Attacked
from edgeproof.stages.verify.earlier_packs import read_earlier
from edgeproof.stages.verify.evidence.candidates import Candidates

from tests.stages.verify.linear_subject import LinearSubject, draw_split

THREAT = ThreatModel(norm="Linf", eps=0.05)
SPLIT = draw_split(10)


def pack(folder: Path, split: Split = SPLIT, by: float = 0.05, **replaced: np.ndarray) -> Path:
    """A pack of one candidate a sample, each pixel darker by so much."""
    arrays = {
        "index": split.index,
        "label": split.labels,
        "attack": np.full(len(split), "apgd-ce"),
        "adversarial": split.images - np.float32(by),
        "clean": split.images,
        "robust": np.ones(len(split), bool),
    }
    np.savez(folder / "engine.npz", **(arrays | replaced))
    return folder / "engine.npz"


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_what_was_found_in_a_wider_ball_comes_into_this_one(tmp_path: Path, norm: str):
    found = read_earlier([pack(tmp_path, by=0.3)], SPLIT, ThreatModel(norm=norm, eps=0.05))
    apart = (SPLIT.images - found.images).reshape(len(SPLIT), -1)
    assert found.index.tolist() == SPLIT.index.tolist()
    sizes = np.linalg.norm(apart, ord=np.inf if norm == "Linf" else 2, axis=1)
    np.testing.assert_allclose(sizes, 0.05, atol=1e-5)


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"clean": SPLIT.images[::-1]}, "is about other test images or labels"),
        ({"clean": SPLIT.images * np.nan}, "is about other test images or labels"),
        ({"label": SPLIT.labels[::-1] + 1}, "is about other test images or labels"),
        ({"index": SPLIT.index + 1}, r"is about other test images or labels \(row 1\)"),
        ({"clean": SPLIT.images[:, :, :3], "adversarial": SPLIT.images[:, :, :3]}, r"its images are \(1, 3, 6\)"),
        ({"adversarial": SPLIT.images[:3]}, "its arrays do not fit each other"),
    ],
)
def test_packs_of_something_else(tmp_path: Path, replaced: dict[str, np.ndarray], words: str):
    with pytest.raises(UsageError, match=rf"engine\.npz: .*{words}"):
        read_earlier([pack(tmp_path, **replaced)], SPLIT, THREAT)


def test_no_packs_and_empty_ones(tmp_path: Path):
    empty = pack(tmp_path, SPLIT.take(slice(0, 0)))
    assert len(read_earlier([], SPLIT, THREAT)) == len(read_earlier([empty], SPLIT, THREAT)) == 0


def test_they_count_for_every_subject_that_faces_them(tmp_path: Path):
    """A subject attacked by next to nothing falls to what an earlier run knew."""
    config = VerifyConfig(square_queries=1, curve=None)
    attacks, bare, more = (tmp_path / name for name in ("attacks", "bare", "more"))
    for folder in (attacks, bare, more):
        folder.mkdir()
    subject = LinearSubject()
    attack_subject(subject, Evaluation(SPLIT, THREAT, config), ("square",), attacks)
    found = {"linear": Attacked.load(attacks)}
    # Straight along the weights, where the linear classifier is sure to fall.
    strong = tmp_path / "strong"
    strong.mkdir()
    attack_subject(subject, Evaluation(SPLIT, THREAT, VerifyConfig(curve=None)), ("apgd-ce", "apgd-t"), strong)
    earlier = Attacked.load(strong).candidates
    assert len(earlier)
    for folder, known in ((bare, Candidates.none(SPLIT.images.shape[1:])), (more, earlier)):
        aggregate(Ledger({"linear": subject}), found, Evaluation(SPLIT, THREAT, config, earlier=known), folder)
    before, after = (
        json.loads((folder / "verification" / "figures.json").read_text())["linear"] for folder in (bare, more)
    )
    assert after["robust_accuracy"] == Attacked.load(strong).robust.mean() < before["robust_accuracy"]
    assert after["robust_accuracy_8bit"] <= before["robust_accuracy_8bit"]
    assert list(after["routes"])[-1] == "replay"
