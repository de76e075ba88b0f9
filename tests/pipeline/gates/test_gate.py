"""Gates: decided by the worst engine; what is skipped, doubtful or too small never passes."""

from __future__ import annotations

from typing import Any

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.gates import Condition, GateResult, judge
from scipy.stats import binomtest


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


def test_without_a_gate_nothing_has_passed():
    assert (judge([], [engine()]).outcome, judge([], [engine()]).exit_code) == ("measured", 0)
    assert judge([], [engine()], doubts=["d"]).outcome == "inconclusive"
    assert judge([], [engine()], missing=["m"]).outcome == "inconclusive"
    bound = GateResult("bound_to.eps", "0.1", None, None, "pass")
    assert judge([], [engine()], bindings=[bound]).outcome == "measured"


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
        ("robust_accuracy >= 75", r"robust_accuracy: is a share, its limit lies in \[0, 1\], got '>= 75'"),
        ("corrupted_accuracy >= -0.1", "is a share"),
    ],
)
def test_what_is_no_condition(line: str, words: str):
    with pytest.raises(UsageError, match=words):
        Condition.parse_line(line)


def test_an_open_gate_says_how_many_samples_would_decide():
    small = engine(robust_accuracy=0.85, robust_accuracy_ci=[0.62, 0.97], samples=20)
    (gate,) = judge([Condition.parse_line("robust_accuracy >= 0.75")], [small]).gates
    widths = {
        count: interval.high - interval.low
        for count in range(20, 120)
        for interval in [binomtest(round(0.85 * count), count).proportion_ci(method="exact")]
    }
    assert gate.samples_needed is not None
    assert min(count for count, width in widths.items() if width <= 0.2) == pytest.approx(gate.samples_needed, abs=5)
    assert f"about {gate.samples_needed} samples would decide" in gate.reason
    kept = engine(retention=0.9, retention_ci=[0.7, 1.1], samples=50)
    (gate,) = judge([Condition.parse_line("retention >= 0.95")], [kept]).gates
    assert gate.samples_needed == pytest.approx(200, abs=1), "half the width takes four times the samples"


TIMED = {"latency_ratio": {"1": {"ratio": 0.5, "low": 0.45, "high": 0.55}}, "size_bytes": {"float": 4000}}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("latency_ratio <= 0.6", "pass"),
        ("latency_ratio <= 0.52", "inconclusive"),
        ("latency_ratio <= 0.48", "inconclusive"),
        ("latency_ratio <= 0.4", "fail"),
        ("size_ratio <= 0.25", "pass"),
        ("size_ratio < 0.25", "fail"),
        ("whitebox_agreement >= 0.98", "pass"),  # 0.87 after it, 0.86 in the end
        ("whitebox_agreement >= 0.995", "fail"),
        ("square_agreement >= 1", "pass"),
        ("probe_agreement >= 0.5", "inconclusive"),
        ("twin_agreement_clean >= 1", "pass"),
        ("twin_agreement_adversarial >= 1", "fail"),
        ("robust_accuracy_8bit >= 0.5", "inconclusive"),
    ],
)
def test_every_figure_of_the_report_can_be_gated(line: str, expected: str):
    routes = {"replay": 0.9, "whitebox": 0.87, "square": 0.86}
    agreement = {"clean": 1.0, "adversarial": 0.99}
    found = engine(samples=1000, routes=routes, twin_agreement=agreement, bench=TIMED)
    assert outcome(line, found)[0] == expected


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"robust_accuracy": "high"}, "the report's robust_accuracy of onnxruntime is no number: 'high'"),
        ({"robust_accuracy_ci": [0.1]}, r"the report's robust_accuracy_ci of onnxruntime is no interval: \[0.1\]"),
        ({"robust_accuracy_ci": [0.1, "b"]}, "is no number: 'b'"),
    ],
)
def test_a_report_that_somebody_edited(figures: dict[str, Any], words: str):
    with pytest.raises(UsageError, match=words):
        outcome("robust_accuracy >= 0.5", engine(**figures))
