"""Accuracy over eps: exact on a classifier whose distances are known, falling, and never against the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edgeproof.pipeline.commands.verify import verify
from edgeproof.stages.data import Split
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Attacked, Evaluation, VerifyConfig, attack_subject
from edgeproof.stages.verify.aggregate import Ledger, aggregate
from edgeproof.stages.verify.figures import FIGURES_FILE
from edgeproof.stages.verify.measures.curve_config import CurveConfig
from pydantic import ValidationError

from tests.stages.verify.linear_subject import LinearSubject, draw_split, exact_distances

RADII = (0.5, 0.25, 1.5, 2.0)


def settled(folder: Path, split: Split, threat: ThreatModel, config: VerifyConfig, order: tuple[str, ...], **more):
    """Attack the linear classifier and return its figures and its bits."""
    subject = LinearSubject()
    (folder / "attack").mkdir(parents=True)
    attack_subject(subject, Evaluation(split, threat, config), order, folder / "attack")
    found = {"linear": Attacked.load(folder / "attack")}
    ledger = Ledger({"linear": subject}, curve_of=["linear"])
    aggregate(ledger, found, Evaluation(split, threat, config), folder, **more)
    with np.load(folder / "verification" / "linear.npz") as bits:
        robust = bits[next(reversed(bits.files))]
    return json.loads((folder / FIGURES_FILE).read_text())["linear"], robust


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.0075), ("L2", 0.035)])
def test_the_curve_of_a_linear_classifier_is_the_exact_one(norm: str, eps: float, tmp_path: Path):
    threat, split = ThreatModel.model_validate({"norm": norm, "eps": eps}), draw_split(60)
    config = VerifyConfig(curve=CurveConfig(radii=RADII, attacks=("apgd-ce", "fab-t")))
    figures, robust = settled(tmp_path, split, threat, config, ("apgd-ce", "fab-t"))
    curve, exact = figures["curve"], exact_distances(split, norm)
    assert curve["radii"] == pytest.approx([0, *(eps * factor for factor in (0.25, 0.5, 1, 1.5, 2))])
    expected = [(exact > radius).mean() for radius in curve["radii"]]
    assert curve["accuracy"] == pytest.approx(expected)
    assert len(set(expected)) == 6, "the radii tell samples apart"
    assert curve["accuracy"][3] == robust.mean() == figures["robust_accuracy"]
    assert curve["accuracy"][0] == figures["clean_accuracy"] == 0.9
    assert curve["accuracy_ci"][3] == figures["robust_accuracy_ci"]
    assert list(figures["routes"]) == ["apgd-ce", "fab-t", "rounded"], "a curve is no route where it breaks nothing"


def test_on_a_draw_the_point_at_eps_is_the_verdict_on_that_draw(tmp_path: Path):
    split, threat = draw_split(60), ThreatModel(norm="Linf", eps=0.01)
    config = VerifyConfig(curve=CurveConfig(radii=RADII, samples=25))
    figures, robust = settled(tmp_path, split, threat, config, ("apgd-ce",))
    rows = np.sort(np.random.default_rng(0).choice(60, 25, replace=False))
    curve = figures["curve"]
    assert (curve["samples"], curve["seed"], curve["attacks"]) == (25, 0, ["apgd-ce"])
    assert curve["accuracy"][3] == robust[rows].mean() != figures["robust_accuracy"]


def test_neither_workers_nor_their_number_matter(tmp_path: Path):
    split, threat = draw_split(140), ThreatModel(norm="Linf", eps=0.01)
    config = VerifyConfig(curve=CurveConfig(radii=(0.5, 1.5)))
    one, other = (
        settled(tmp_path / str(workers), split, threat, config, ("apgd-ce",), workers=workers)[0] for workers in (1, 2)
    )
    assert one["curve"] == other["curve"]


def test_an_example_in_the_ball_that_only_the_curve_found_breaks_the_verdict_as_well(tmp_path: Path):
    """Square with a single query finds next to nothing; FAB in a wider ball ends right behind the boundary."""
    split, threat = draw_split(60), ThreatModel(norm="Linf", eps=0.01)
    config = VerifyConfig(curve=CurveConfig(radii=(2.0,), attacks=("fab-t",)), square_queries=1)
    before, _ = settled(tmp_path / "before", split, threat, config.model_copy(update={"curve": None}), ("square",))
    after, robust = settled(tmp_path / "after", split, threat, config, ("square",))
    exact = exact_distances(split, "Linf")
    assert before["robust_accuracy"] > (exact > 0.01).mean()
    assert "curve" not in before
    assert (exact > 0.01).mean() <= after["robust_accuracy"] < before["robust_accuracy"]
    assert after["curve"]["accuracy"][1] == after["robust_accuracy"] == robust.mean()
    with np.load(tmp_path / "after" / "adversarial" / "linear.npz") as pack:
        size = np.abs(pack["adversarial"] - pack["clean"]).max(axis=(1, 2, 3))
        assert size.max() <= 0.01 + 1e-6, "the pack holds nothing from outside the ball"
        assert {*split.index[~robust & (exact > 0)]} <= {*pack["index"].tolist()}, "and all that broke a sample"


def test_radii_that_make_no_curve():
    for radii, words in (((1.0,), "1 is eps itself"), ((2, 2), "2 is there twice"), ((0,), "greater than 0")):
        with pytest.raises(ValidationError, match=words):
            CurveConfig(radii=radii)
    wide = CurveConfig(radii=(0.5, 4)).balls(ThreatModel(norm="Linf", eps=0.3))
    assert [ball.eps for ball in wide] == [0.15], "no ball is wider than the pixel range"


def test_a_proof_has_a_curve_unless_it_is_not_wanted_or_sequential(float_onnx: Path, tmp_path: Path):
    small = ["verify.routes=[whitebox]", "verify.backward=[relu]", "verify.square_queries=50"]

    def proof(**more):
        asked = {"dataset": "digits", "eps": 0.1, "samples": 4, "out": tmp_path / "out", "workers": 1, **more}
        (engine,) = verify(float_onnx, overrides=small, **asked).subjects
        return engine

    with_curve = proof()
    assert with_curve["curve"]["samples"] == 4
    assert "curve" not in proof(curve=False)
    gates = ["robust_accuracy >= 0.01"]
    assert "curve" not in proof(sequential=True, gates=gates, samples=4, out=tmp_path / "sequential")
