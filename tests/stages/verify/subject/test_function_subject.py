"""A user's own function: logits or labels, and what happens where it fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import Dataset
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Attacked, Evaluation, FunctionSubject, VerifyConfig, attack_subject
from edgeproof.targets.onnxruntime.target import open_session

MODULE = """
import os
import numpy as np
from edgeproof.targets.onnxruntime.target import open_session

SESSION = open_session({path!r}, optimise=False)
CALLS = 0


def logits(images):
    return SESSION.run(None, {{SESSION.get_inputs()[0].name: images}})[0]


def labels(images):
    return logits(images).argmax(1)


def bright(images):
    if (images[:, 0, 0, 0] > 0.05).any():  # a corner that is black in digits
        raise RuntimeError("too bright")
    return logits(images)


def two_at_most(images):
    if len(images) > 2:
        os.abort()
    return logits(images)


def tired(images):
    global CALLS
    CALLS += 1
    return logits(images) if CALLS < 40 else logits(np.round(images))


def three(images):
    return logits(images)[:, :3]


def never(images):
    raise ValueError("no such luck")


def sharp(images):
    scores = 100 * logits(images).astype(np.float64)
    odds = np.exp(scores - scores.max(1, keepdims=True))
    return (odds / odds.sum(1, keepdims=True)).astype(np.float32)
"""


# Each crash costs a process that imports the module anew, so it imports no more than it needs: the nearest class mean.
CRASHING = """
import os
import time
import numpy as np

MEANS = np.load({path!r})


def dim_corner(images):
    return ((images[:, 0, 0, 0] > 0.02) & (images[:, 0, 0, 0] < 0.2)).any()


def logits(images):
    return -((images[:, None] - MEANS) ** 2).sum((2, 3, 4)).astype(np.float32)


def fragile(images):
    if dim_corner(images):
        os.abort()
    return logits(images)


def slow(images):
    if dim_corner(images):
        time.sleep(60)
    return logits(images)
"""


@pytest.fixture(scope="module")
def module(float_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_models.py").write_text(MODULE.format(path=str(float_onnx)))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "own_models"


@pytest.fixture(scope="module")
def crashing(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder, train = tmp_path_factory.mktemp("crashing"), digits.train
    np.save(folder / "means.npy", np.stack([train.images[train.labels == label].mean(0) for label in range(10)]))
    (folder / "crashing_models.py").write_text(CRASHING.format(path=str(folder / "means.npy")))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "crashing_models"


def subject(module: str, name: str, surrogate: Path | None = None) -> FunctionSubject:
    return FunctionSubject("function", f"{module}:{name}", (1, 8, 8), 10, surrogate)


def attacked(found: FunctionSubject, digits: Dataset, threat: ThreatModel, folder: Path, count: int) -> Attacked:
    config = VerifyConfig(square_queries=300, strong_restarts=1, hard_label_iterations=2)
    order = ["whitebox", "probe", "square", *(["hop-skip-jump"] if found.open().labels_only else [])]
    attack_subject(found, Evaluation(digits.test.take(slice(0, count)), threat, config), order, folder)
    return Attacked.load(folder)


def doubts(found: Attacked) -> set[str]:
    return {finding["name"] for finding in found.summary["findings"] if finding["inconclusive"]}  # type: ignore[index]


def test_it_answers_as_the_function_does(module: str, float_onnx: Path, digits: Dataset):
    images = digits.test.images[:300]
    session = open_session(float_onnx, optimise=False)
    expected = session.run(None, {session.get_inputs()[0].name: images})[0]
    opened = subject(module, "logits").open()
    assert np.allclose(opened.predict(images), expected, atol=1e-5)
    assert not opened.labels_only
    one_hot = subject(module, "labels").open()
    assert one_hot.labels_only
    assert np.array_equal(one_hot.predict(images), np.eye(10, dtype=np.float32)[expected.argmax(1)])


def test_an_image_at_which_it_raises_is_not_robust_and_the_others_are_judged(module: str, digits: Dataset):
    images = digits.test.images[:20].copy()
    images[7, 0, 0, 0] = 1.0
    answers = subject(module, "bright").predictor()(images)
    assert np.isnan(answers[7]).all()
    assert np.isfinite(np.delete(answers, 7, axis=0)).all()


@pytest.mark.parametrize(("name", "count", "why"), [("fragile", 2, "signal 6"), ("slow", 1, "hung")])
def test_a_sample_near_which_it_crashes_or_hangs_is_not_robust_and_the_run_goes_on(
    crashing: str, name: str, count: int, why: str, digits: Dataset, threat: ThreatModel, tmp_path: Path
):
    found = replace(subject(crashing, name), patience=0.5)
    result = attacked(found, digits, threat, tmp_path, count)
    assert result.clean_correct.all(), "it answers the clean images"
    assert not result.robust.any(), "every ball has an image with a dim corner"
    assert "failed" in result.candidates.attack
    assert "failing" in {finding["name"] for finding in result.summary["findings"]}  # type: ignore[index]
    again = found.predictor()
    assert np.isnan(again(result.candidates.images[result.candidates.attack == "failed"])).all()
    assert all(why in reason for reason in again.failures)


def test_a_batch_too_large_for_it_blames_no_image(module: str, float_onnx: Path, digits: Dataset):
    images = digits.test.images[:5]
    found = subject(module, "two_at_most").predictor()
    assert np.allclose(found(images), subject(module, "logits").predictor()(images), atol=1e-5)
    assert not found.failures


@pytest.mark.parametrize(
    ("name", "message"),
    [("three", r"answers float32 \[2, 3\]"), ("never", "no such luck"), ("nothing", "has no function 'nothing'")],
)
def test_what_is_no_model(module: str, name: str, message: str):
    with pytest.raises(UsageError, match=message):
        subject(module, name).open()


def test_with_a_surrogate_it_is_attacked_as_what_it_is(module, float_onnx, digits, threat, tmp_path: Path):
    found = attacked(subject(module, "logits", float_onnx), digits, threat, tmp_path, 12)
    assert not doubts(found)
    assert 0.3 < found.robust.mean() < found.clean_correct.mean()


@pytest.mark.parametrize(
    ("name", "doubt"),
    [("logits", "no-gradients"), ("labels", "labels-only"), ("tired", "changing"), ("sharp", "flat")],
)
def test_what_a_black_box_cannot_settle_is_inconclusive(module, name: str, doubt: str, digits, threat, tmp_path: Path):
    assert doubt in doubts(attacked(subject(module, name), digits, threat, tmp_path, 8))
