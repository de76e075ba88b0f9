"""Gates: decided by the worst engine; what is skipped, doubtful or too small never passes."""

from __future__ import annotations

from typing import Any

import pytest
from edgeproof.pipeline.gates import Condition, judge
from edgeproof.targets.errors import UsageError


def engine(name: str = "onnxruntime", **figures: Any) -> dict[str, Any]:
    defaults = {"clean_accuracy": 0.99, "robust_accuracy": 0.86, "retention": 1.0, "size_bytes": 1000}
    intervals = {"clean_accuracy_ci": [0.97, 1.0], "robust_accuracy_ci": [0.81, 0.9], "retention_ci": [0.98, 1.02]}
    return {"name": name, "kind": "engine", **defaults, **intervals, **figures}


def outcome(line: str, *engines: dict[str, Any], **more: Any) -> tuple[str, int]:
    verdict = judge([Condition.parse_line(line)], engines, **more)
    return verdict.outcome, verdict.exit_code


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("robust_accuracy >= 0.86", ("pass", 0)),
        ("robust_accuracy > 0.86", ("fail", 1)),
        ("robust_accuracy >= 0.87", ("fail", 1)),
        ("size_bytes <= 1000", ("pass", 0)),
        ("size_bytes < 1000", ("fail", 1)),
        ("retention>=1", ("pass", 0)),
    ],
)
def test_comparisons(line: str, expected: tuple[str, int]):
    assert outcome(line, engine()) == expected


def test_the_worst_engine_counts():
    assert outcome("retention >= 0.97", engine(), engine("other", retention=0.9)) == ("fail", 1)
    assert outcome("size_bytes <= 2000", engine(), engine("other", size_bytes=3000)) == ("fail", 1)


def test_teacher_and_student_are_not_gated():
    teacher = {"name": "teacher", "kind": "torch", "clean_accuracy": 0.1, "robust_accuracy": 0.0}
    assert outcome("robust_accuracy >= 0.5", teacher, engine()) == ("pass", 0)


def test_too_few_samples_are_inconclusive():
    small = engine(robust_accuracy=0.85, robust_accuracy_ci=[0.62, 0.97])
    assert outcome("robust_accuracy >= 0.75", small) == ("inconclusive", 4)
    assert outcome("robust_accuracy >= 0.5", small) == ("pass", 0)  # even the lower end meets it
    assert outcome("robust_accuracy >= 0.99", small) == ("fail", 1)  # even the upper end misses it


def test_no_engine_no_figure_no_pass():
    assert outcome("robust_accuracy >= 0.5") == ("inconclusive", 4)
    assert outcome("retention >= 0.5", engine(retention=None)) == ("inconclusive", 4)


def test_a_missing_target_never_passes_but_a_failed_gate_still_fails():
    missing = ["target 'openvino' is missing: not installed"]
    assert outcome("robust_accuracy >= 0.5", engine(), missing=missing) == ("inconclusive", 4)
    assert outcome("robust_accuracy >= 0.9", engine(), missing=missing) == ("fail", 1)


def test_doubts_make_a_pass_inconclusive():
    assert outcome("robust_accuracy >= 0.5", engine(), doubts=["engine: huge-eps: ..."]) == ("inconclusive", 4)
    assert judge([], [engine()], doubts=["doubt"]).exit_code == 4
    assert judge([], [engine()]).exit_code == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("robust_acuracy >= 0.5", "unknown figure 'robust_acuracy'; did you mean 'robust_accuracy'"),
        ("robust_accuracy = 0.5", "a limit is a comparison"),
        ("robust_accuracy >= high", "a limit is a comparison"),
        ("robust_accuracy", "a limit is a comparison"),
        (">= 0.5", "a gate is a figure and a limit"),
    ],
)
def test_what_is_no_condition(line: str, words: str):
    with pytest.raises(UsageError, match=words):
        Condition.parse_line(line)
