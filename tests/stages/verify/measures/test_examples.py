"""The examples that people look at: chosen by the stated rule, with images that do what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from edgeproof.stages.data import Split
from edgeproof.stages.verify import Attacked
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.measures.examples import NO_ANSWER, SHOWN, save_examples

SHAPE, COUNT = (1, 4, 4), 30
# In no order, so that the data set's order is another one than that of the samples.
INDEX = np.random.default_rng(0).permutation(np.arange(COUNT) * 3)
SPLIT = Split(np.full((COUNT, *SHAPE), 0.5, np.float32), np.zeros(COUNT, np.int64), INDEX)


def answers(limit: float):
    """A model that says 1 as soon as a pixel is above a limit, and has no answer above 0.95."""

    def predict(images: np.ndarray) -> np.ndarray:
        bright = images.reshape(len(images), -1).max(1)
        logits = np.eye(2, dtype=np.float32)[(bright > limit).astype(int)]
        logits[bright > 0.95] = np.nan
        return logits

    return predict


def attacked(fallen: list[int], images: list[tuple[int, str, float]], misread: tuple[int, ...] = ()) -> Attacked:
    """A subject that loses the fallen samples, and the candidates (sample, attack, brightness) found on it."""
    clean = ~np.isin(np.arange(COUNT), misread)
    candidates = Candidates(
        np.array([INDEX[sample] for sample, _, _ in images], np.int64),
        np.array([attack for _, attack, _ in images]),
        np.stack([np.full(SHAPE, value, np.float32) for _, _, value in images]),
    )
    bits = {"square": clean & ~np.isin(np.arange(COUNT), fallen)}
    return Attacked(INDEX, SPLIT.labels, clean, bits, clean, candidates, {})


def saved(path: Path, faced: dict[str, Attacked], limits: dict[str, float], student: str | None = "student"):
    predictors = {name: answers(limit) for name, limit in limits.items()}
    save_examples(path, faced, predictors, SPLIT, ("zero", "one"), student=student)
    with np.load(path) as arrays:
        return {key: arrays[key] for key in arrays.files}


def test_first_those_that_the_student_keeps_then_those_that_both_lose(tmp_path: Path):
    both, mine = [1, 2, 3, 4, 5, 6, 7], [10, 11, 12]
    student = attacked(both, [(sample, "fab-t", 0.8) for sample in both])
    # A weak image first, which fools nobody, and of sample 10 one at which the engine has no answer.
    strong = {10: 0.99}
    images = [(sample, "apgd-ce", value) for sample in mine for value in (0.55, strong.get(sample, 0.65))]
    engine = attacked([*both, *mine, 20], images, misread=(20,))
    found = saved(tmp_path / "e.npz", {"student": student, "engine": engine}, {"student": 0.7, "engine": 0.6})
    rows = found["subject"] == "engine"
    expected = [*sorted(INDEX[mine]), *sorted(INDEX[both])[: SHOWN - len(mine)]]
    assert found["index"][rows].tolist() == expected
    assert found["lost"][rows].tolist() == [True] * 3 + [False] * (SHOWN - 3)
    assert found["classes"].tolist() == ["zero", "one"]
    assert INDEX[20] not in found["index"], "wrong already on the clean image"
    for row in np.flatnonzero(rows):
        own = found["lost"][row]
        assert found["found_on"][row] == ("engine" if own else "student")
        assert found["attack"][row] == ("apgd-ce" if own else "fab-t")
        failed = found["index"][row] == INDEX[10]
        assert found["clean_prediction"][row] == 0
        assert found["adversarial_prediction"][row] == (NO_ANSWER if failed else 1)
        assert found["student_adversarial_prediction"][row] == (NO_ANSWER if failed else 0 if own else 1)
    assert found["clean"].dtype == np.float16


def test_nothing_fell_nothing_is_shown(tmp_path: Path):
    found = saved(tmp_path / "e.npz", {"engine": attacked([], [(1, "square", 0.5)])}, {"engine": 0.6}, student=None)
    assert len(found["subject"]) == 0
    assert found["clean"].shape == (0, *SHAPE)


def test_a_sample_without_a_known_image_is_passed_over(tmp_path: Path):
    faced = {"engine": attacked([3, 4], [(4, "square", 0.7)])}
    found = saved(tmp_path / "e.npz", faced, {"engine": 0.6}, student=None)
    assert found["index"].tolist() == [INDEX[4]]
    assert found["student_clean_prediction"].tolist() == [NO_ANSWER]
