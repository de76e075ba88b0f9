"""Gates against a baseline: the three outcomes, and everything that keeps two runs from being compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.gates import Condition, Verdict, judge
from edgeproof.pipeline.gates.baseline import Baseline, save
from edgeproof.pipeline.gates.pair import beside
from edgeproof.pipeline.gates.record_of_run import record_of
from edgeproof.stages.statistics.paired import difference_interval, more_lost
from edgeproof.stages.statistics.proportions import clopper_pearson

from tests.finished_run import SETTINGS, bits, finished

BOTH = {"one": bits(1000), "two": bits(1000)}


def verdict(tmp_path: Path, lines: Sequence[str], before: dict[str, Any], after: dict[str, Any]) -> Verdict:
    """Judge a run against a baseline; both are arguments of `finished`."""
    place = tmp_path / str(len(list(tmp_path.iterdir())))
    runs = finished(place / "before", **before), finished(place / "after", **after)
    first, second = (json.loads((run / "report.json").read_text()) for run in runs)
    save(record_of(first, runs[0]), place / "base.json")
    pair = beside(record_of(second, runs[1]), Baseline.load(place / "base.json"))
    return judge([Condition.parse_line(line) for line in lines], second["subjects"], against=pair)


def engine(*arguments: Any, **columns: Any) -> dict[str, Any]:
    return {"engines": {"onnxruntime": bits(*arguments, **columns)}}


@pytest.mark.parametrize(
    ("limit", "before", "after", "expected"),
    [
        (">= baseline", [], [], "pass"),
        (">= baseline", [1, 2, 3, 4], [5, 6, 7, 8], "pass"),
        (">= baseline", [], range(41), "fail"),
        (">= baseline - 0.03", [], range(34), "pass"),  # 3.4 points is not more than 3, as far as is known, nor 6
        (">= baseline - 0.03", [], range(41), "fail"),
        (">= baseline - 0.05", [], range(41), "pass"),
        (">= baseline", range(41), [], "pass"),
        (">= baseline", range(100), range(98, 210), "inconclusive"),  # 1.2 points, and much that differs
        (">= baseline, resolution 0.1", range(100), range(98, 210), "pass"),
    ],
)
def test_outcomes(limit: str, before: Sequence[int], after: Sequence[int], expected: str, tmp_path: Path):
    found = verdict(tmp_path, [f"robust_accuracy {limit}"], engine(1000, before), engine(1000, after))
    assert (found.outcome, found.exit_code) == (expected, {"pass": 0, "fail": 1, "inconclusive": 4}[expected])


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("resolution", ["", ", resolution 1e-300", ", resolution 0.999"])
@pytest.mark.parametrize("margin", ["", " - 1e-300", " - 0.98", " - 0.9999999999999999"])
@pytest.mark.parametrize(("before", "after"), [([], []), ([], range(60)), (range(60), []), (range(60), range(60))])
def test_edges_are_decided_or_open_and_no_fault(
    margin: str, resolution: str, before: Sequence[int], after: Sequence[int], *, sequential: bool, tmp_path: Path
):
    """Engines that collapsed or were repaired, margins near everything, resolutions of next to nothing."""
    more = {"more": {"onnxruntime": {"sequential": {"population": 60, "error": 0.05}}}} if sequential else {}
    runs = ({**engine(60, broken), "student": bits(60), **more} for broken in (before, after))
    lines = [f"{figure} >= baseline{margin}{resolution}" for figure in ("robust_accuracy", "retention")]
    found = verdict(tmp_path, lines, *runs)
    json.dumps([gate.as_json() for gate in found.gates], allow_nan=False)
    accuracy = found.gates[0]
    assert accuracy.comparison is not None
    assert accuracy.comparison.samples_needed is None or accuracy.comparison.samples_needed > 60
    if before and not after:  # repaired
        assert accuracy.outcome == "pass"
    if after and not before and margin in ("", " - 1e-300"):
        assert accuracy.outcome == "fail"


@pytest.mark.parametrize("limit", [">= 1e400", ">= baseline - 1e400", ">= baseline, resolution 1e400"])
def test_limits_that_no_number_holds(limit: str):
    with pytest.raises(UsageError, match="a limit is a number that is computed with"):
        Condition.parse("robust_accuracy", limit)


def test_the_reason_is_readable_and_the_numbers_are_there(tmp_path: Path):
    found = verdict(tmp_path, ["robust_accuracy >= baseline"], engine(1000, range(6)), engine(1000, range(6, 53)))
    (gate,) = found.gates
    compared = gate.comparison
    assert compared is not None
    low, high = difference_interval(47, 6, 1000, 0.9)
    points = f"[{-100 * high:.1f}, {-100 * low:.1f}]"
    words = f"robust accuracy lost 4.1 points {points} against the baseline: 47 samples lost, 6 gained of 1000"
    assert gate.reason.startswith(words)
    assert found.reasons == (f"robust_accuracy: {gate.reason}",)
    assert compared.difference == pytest.approx(-0.041)
    assert compared.interval == (low, high)
    assert (compared.p, compared.p_adjusted, compared.test) == (more_lost(47, 6), more_lost(47, 6), "exact McNemar")
    entry = gate.as_json()
    assert (entry["subject"], entry["value"], entry["limit"]) == ("onnxruntime", 0.953, ">= baseline")
    assert entry["against_baseline"]["lost"] == 47
    json.dumps(entry)


def test_an_open_gate_says_how_many_samples_would_decide(tmp_path: Path):
    found = verdict(tmp_path, ["robust_accuracy >= baseline"], engine(40, [0]), engine(40, [1, 2]))
    (gate,) = found.gates
    assert gate.outcome == "inconclusive"
    assert gate.samples_needed is not None
    assert gate.samples_needed > 100
    assert f"a loss of 3 points is not excluded; about {gate.samples_needed} samples would decide" in gate.reason


def test_a_value_of_the_common_samples_has_their_interval(tmp_path: Path):
    half = {key: column[:500] for key, column in bits(1000).items()}
    # Of the first 500 samples 20 are broken, of the others 100.
    (gate,) = verdict(
        tmp_path,
        ["robust_accuracy >= baseline - 0.1"],
        {"engines": {"onnxruntime": half}},
        engine(1000, [*range(20), *range(600, 700)]),
    ).gates
    assert gate.value == 480 / 500
    assert gate.ci == clopper_pearson(480, 500)
    (whole,) = verdict(tmp_path, ["robust_accuracy >= baseline - 0.1"], engine(1000), engine(1000, range(20))).gates
    assert (whole.value, whole.ci) == (0.98, clopper_pearson(980, 1000))


def test_only_common_samples_count(tmp_path: Path):
    half = {key: column[:500] for key, column in bits(1000, range(480, 500)).items()}
    found = verdict(
        tmp_path, ["robust_accuracy >= baseline"], engine(1000, range(500, 900)), {"engines": {"onnxruntime": half}}
    )
    (gate,) = found.gates
    assert gate.comparison is not None
    assert (gate.comparison.samples, gate.comparison.lost, gate.comparison.gained) == (500, 20, 0)
    assert gate.comparison.baseline == 1.0
    assert found.baseline is not None
    assert "500 samples, the baseline has 1000; the common ones count" in " ".join(found.baseline["notes"])
    away = {**half, "index": half["index"] + 1}
    found = verdict(tmp_path, ["robust_accuracy >= baseline"], engine(1000), {"engines": {"onnxruntime": away}})
    assert found.outcome == "inconclusive"
    assert "no sample in common" in found.reasons[0]


def test_several_gates_and_engines_are_corrected_together(tmp_path: Path):
    five = {"one": bits(1000, range(5)), "two": bits(1000)}
    alone = verdict(tmp_path, ["robust_accuracy >= baseline"], engine(1000), engine(1000, range(5)))
    assert alone.outcome == "fail", "5 lost, none gained: p = 1/32"
    found = verdict(tmp_path, ["robust_accuracy >= baseline"], {"engines": BOTH}, {"engines": five})
    assert found.outcome == "pass", "two engines: p = 2/32"
    (gate,) = found.gates
    assert gate.comparison is not None
    assert (gate.subject, gate.comparison.p, gate.comparison.p_adjusted) == ("one", 1 / 32, 2 / 32)
    lines = ["robust_accuracy >= baseline", "clean_accuracy >= baseline"]
    found = verdict(tmp_path, lines, {"engines": BOTH}, {"engines": five})
    first = found.gates[0].comparison
    assert first is not None
    assert first.p_adjusted == 4 / 32


def test_the_worst_engine_decides(tmp_path: Path):
    after = {"one": bits(1000, [0]), "two": bits(1000, range(60))}
    found = verdict(tmp_path, ["robust_accuracy >= baseline"], {"engines": BOTH}, {"engines": after})
    assert (found.outcome, found.gates[0].subject) == ("fail", "two")


def test_engines_that_came_or_went_leave_it_open(tmp_path: Path):
    only = {"one": bits(1000)}
    came = verdict(tmp_path, ["robust_accuracy >= baseline"], {"engines": only}, {"engines": BOTH})
    assert (came.outcome, came.reasons) == ("inconclusive", ("robust_accuracy: two is not in the baseline",))
    went = verdict(tmp_path, ["robust_accuracy >= baseline"], {"engines": BOTH}, {"engines": only})
    assert (went.outcome, "two, which the baseline has, is not in the run" in went.reasons[0]) == ("inconclusive", True)
    worse = {"one": bits(1000, range(60))}
    assert verdict(tmp_path, ["robust_accuracy >= baseline"], {"engines": BOTH}, {"engines": worse}).outcome == "fail"


ENVIRONMENT = {"edgeproof": "0.1.0", "attacks": "pyautoattack 0.2.0", "machine": {"processor": "AMD EPYC"}}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"environment": {**ENVIRONMENT, "attacks": "pyautoattack 0.3.0"}},
            "attacked with pyautoattack 0.3.0, the base",
        ),
        ({"verify": {**SETTINGS, "square_queries": 10}}, "attacked with other settings than the baseline (square_quer"),
        ({"dataset": {"name": "digits", "digest": "e"}}, "the data set's digest is another than the baseline's"),
    ],
)
@pytest.mark.parametrize("broken", [[], range(60)])
def test_what_was_measured_otherwise_neither_passes_nor_fails(
    more: dict[str, Any], words: str, broken: Sequence[int], tmp_path: Path
):
    found = verdict(tmp_path, ["robust_accuracy >= baseline"], engine(1000), {**engine(1000, broken), **more})
    assert (found.outcome, words in found.reasons[0]) == ("inconclusive", True)
    clean = verdict(tmp_path, ["clean_accuracy >= baseline"], engine(1000), {**engine(1000), **more})
    assert clean.outcome == ("inconclusive" if "dataset" in more else "pass"), "no attack is asked for a clean answer"


def test_another_seed_or_sample_count_is_no_other_setting(tmp_path: Path):
    more = {"verify": {**SETTINGS, "seed": 7, "samples": 1000}}
    assert verdict(tmp_path, ["robust_accuracy >= baseline"], engine(1000), {**engine(1000), **more}).outcome == "pass"


def test_other_routes_are_another_attack(tmp_path: Path):
    fewer = {key: column for key, column in bits(1000).items() if key != "replay"}
    place = finished(tmp_path / "fewer", {"onnxruntime": bits(1000)})
    np.savez_compressed(place / "verification" / "onnxruntime.npz", **fewer)
    data = json.loads((place / "report.json").read_text())
    full = finished(tmp_path / "full", {"onnxruntime": bits(1000)})
    save(record_of(json.loads((full / "report.json").read_text()), full), tmp_path / "base.json")
    pair = beside(record_of(data, place), Baseline.load(tmp_path / "base.json"))
    found = judge([Condition.parse("robust_accuracy", ">= baseline")], data["subjects"], against=pair)
    assert "attacked by whitebox square, the baseline by replay whitebox square" in found.reasons[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"threat_model": {"norm": "Linf", "eps": 0.2}}, "its threat model is Linf 0.1, the run's is Linf 0.2"),
        ({"dataset": {"name": "mnist", "digest": "d"}}, "its data set is 'digits', the run's 'mnist'"),
    ],
)
def test_other_tasks_are_refused(more: dict[str, Any], words: str, tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        verdict(tmp_path, ["robust_accuracy >= baseline"], engine(100), {**engine(100), **more})
    assert words in str(caught.value)


def latency(ratio: float, low: float, high: float) -> dict[str, Any]:
    found = {"1": {"ratio": ratio, "low": low, "high": high}, "32": {"ratio": 9, "low": 9, "high": 9}}
    return {"bench": {"latency_ratio": found}}


@pytest.mark.parametrize(
    ("limit", "after", "expected"),
    [
        ("<= baseline * 1.1", (0.5, 0.49, 0.51), "pass"),
        ("<= baseline", (0.5, 0.49, 0.51), "pass"),  # within the resolution of 10 %
        ("<= baseline * 1.1", (0.6, 0.595, 0.605), "fail"),
        ("<= baseline * 1.1", (0.54, 0.4, 0.8), "inconclusive"),
        ("<= baseline * 1.1, resolution 0.6", (0.54, 0.4, 0.8), "pass"),
        ("<= baseline", (0.3, 0.29, 0.31), "pass"),
    ],
)
def test_latency_is_a_ratio_of_ratios_with_an_interval(
    limit: str, after: tuple[float, float, float], expected: str, tmp_path: Path
):
    before = {**engine(50), "more": {"onnxruntime": latency(0.5, 0.49, 0.51)}}
    found = verdict(
        tmp_path, [f"latency_ratio {limit}"], before, {**engine(50), "more": {"onnxruntime": latency(*after)}}
    )
    assert found.outcome == expected
    if expected == "fail":
        assert "latency over the float engine's is 1.200 [" in found.reasons[0]


def test_latency_without_an_interval_or_on_another_processor_does_not_fail(tmp_path: Path):
    old = {"bench": {"times_slower_than_engine": {"float": {"1": 2.0}}}}
    before = {**engine(50), "more": {"onnxruntime": latency(0.5, 0.49, 0.51)}}
    found = verdict(tmp_path, ["latency_ratio <= baseline"], before, {**engine(50), "more": {"onnxruntime": old}})
    assert "has no interval of the latency_ratio" in found.reasons[0]
    slow = {**engine(50), "more": {"onnxruntime": latency(0.9, 0.89, 0.91)}}
    elsewhere = {**slow, "environment": {**ENVIRONMENT, "machine": {"processor": "Xeon"}}}
    assert verdict(tmp_path, ["latency_ratio <= baseline"], before, slow).outcome == "fail"
    found = verdict(tmp_path, ["latency_ratio <= baseline"], before, elsewhere)
    assert (found.outcome, "on another processor" in found.reasons[0]) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("size_bytes <= baseline * 1.05", "pass"),
        ("size_bytes <= baseline * 1.04", "fail"),
        ("size_bytes < baseline", "fail"),
        ("size_bytes <= baseline + 50", "pass"),
        ("size_ratio <= baseline", "fail"),
        ("twin_agreement_clean >= baseline - 0.01", "pass"),
        ("twin_agreement_clean >= baseline", "fail"),
    ],
)
def test_what_is_no_estimate_is_compared_as_it_is(line: str, expected: str, tmp_path: Path):
    before, after = (
        {
            **engine(50),
            "more": {"onnxruntime": {"size_bytes": size, "twin_agreement": {"clean": clean}, "bench": weights}},
        }
        for size, clean, weights in (
            (1000, 1.0, {"size_bytes": {"float": 2000}}),
            (1050, 0.99, {"size_bytes": {"float": 2000}}),
        )
    )
    assert verdict(tmp_path, [line], before, after).outcome == expected


def test_agreement_of_the_routes(tmp_path: Path):
    """What the white box misses and Square finds: 2 of 200 in the baseline, 30 in the run."""
    before = engine(200, [0, 1], early=range(20, 40))
    after = engine(200, range(30), early=range(30, 52))
    lines = ["whitebox_agreement >= baseline", "square_agreement >= baseline", "replay_agreement >= baseline"]
    white, square, replay = verdict(tmp_path, lines, before, after).gates
    assert (white.outcome, white.value) == ("fail", 170 / 200)
    assert "agreement after whitebox lost 14.0 points" in white.reason
    assert (square.outcome, square.value) == ("pass", 1.0)
    assert (replay.outcome, replay.value) == ("fail", 148 / 200)


def test_retention_is_compared_with_its_own_student(tmp_path: Path):
    """Both students lose the same samples as their engines do: less robust, nothing lost in the engine."""
    before = {**engine(1000, range(20)), "student": bits(1000, range(20))}
    weaker = {**engine(1000, range(150)), "student": bits(1000, range(150))}
    worse = {**engine(1000, range(120)), "student": bits(1000, range(20))}
    lines = ["retention >= baseline"]
    assert verdict(tmp_path, lines, before, weaker).outcome == "pass"
    found = verdict(tmp_path, lines, before, worse)
    assert (found.outcome, "retention lost 10.2 points" in found.reasons[0]) == ("fail", True)
    assert "no student" in verdict(tmp_path, lines, engine(1000), worse).reasons[0]


def test_corruptions_are_compared_by_their_intervals(tmp_path: Path):
    def corrupted(value: float) -> dict[str, Any]:
        ends = {"corrupted_accuracy": value, "corrupted_accuracy_ci": [value - 0.01, value + 0.01]}
        return {**engine(50), "more": {"onnxruntime": ends}}

    lines = ["corrupted_accuracy >= baseline"]
    assert verdict(tmp_path, lines, corrupted(0.8), corrupted(0.8)).outcome == "pass"
    assert verdict(tmp_path, lines, corrupted(0.8), corrupted(0.7)).outcome == "fail"
    assert verdict(tmp_path, lines, corrupted(0.8), engine(50)).outcome == "inconclusive"


STOPPED = {"more": {"onnxruntime": {"sequential": {"population": 1000, "error": 0.05}}}}


def test_a_run_that_ended_by_itself_is_judged_by_what_holds_at_any_stop(tmp_path: Path):
    lines = ["robust_accuracy >= baseline"]
    few = {**engine(100, range(6)), **STOPPED}
    found = verdict(tmp_path, lines, engine(1000), few)
    assert found.outcome == "inconclusive", "6 of 100 lost: p = 1/64 had the size been fixed"
    (gate,) = found.gates
    assert gate.comparison is not None
    assert gate.comparison.test == "betting, valid at any stop"
    assert verdict(tmp_path, lines, engine(1000), {**engine(500, range(60)), **STOPPED}).outcome == "fail"
    assert verdict(tmp_path, lines, engine(1000), {**engine(1000), **STOPPED}).outcome == "pass"
    other_order = {**few, "verify": {**SETTINGS, "seed": 3}}
    assert "in other orders" in verdict(tmp_path, lines, few, other_order).reasons[0]
    assert "other orders" not in str(verdict(tmp_path, lines, few, few).reasons)


def test_without_a_baseline_a_relative_gate_stays_open():
    subjects = [{"name": "onnxruntime", "kind": "engine", "robust_accuracy": 0.9}]
    found = judge([Condition.parse("robust_accuracy", ">= baseline")], subjects)
    assert (found.outcome, found.exit_code) == ("inconclusive", 4)
    assert "`edgeproof gate RUN --baseline FILE`" in found.reasons[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("robust_accuracy >= baseline * 0.9", "a limit against the baseline is written '>= baseline - 0.03'"),
        ("robust_accuracy >= baseline + 0.1", "is written '>= baseline - 0.03'"),
        ("robust_accuracy <= baseline", "is written '>= baseline - 0.03'"),
        ("robust_accuracy > baseline", "is written '>= baseline - 0.03'"),
        ("robust_accuracy >= baseline - 3", "margin and resolution are shares"),
        ("robust_accuracy >= baseline, resolution 0", "margin and resolution are shares"),
        ("robust_accuracy >= 0.5, resolution 0.1", "a resolution is of a limit against the baseline"),
        ("size_bytes <= baseline, resolution 0.1", "is no estimate and has no resolution"),
        ("latency_ratio <= baseline + 0.1", "is written '<= baseline * 1.1'"),
        ("latency_ratio <= baseline * 0", "margin and resolution are shares"),
        ("robust_accuracy >= base", "a limit is a comparison"),
        ("robust_accuracy >= baseline -", "a limit is a comparison"),
        ("latency >= 3", "unknown figure 'latency'; did you mean 'latency_ratio'?"),
        ("agreement_whitebox >= 0.9", "unknown figure 'agreement_whitebox'"),
    ],
)
def test_what_is_no_limit_against_a_baseline(line: str, words: str):
    with pytest.raises(UsageError) as caught:
        Condition.parse_line(line)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text", [">= baseline", ">= baseline - 0.03", ">= baseline - 0.01, resolution 0.02", ">= 0.95", "< 3"]
)
def test_limits_are_written_as_they_are_read(text: str):
    figure = "size_bytes" if text == "< 3" else "robust_accuracy"
    assert Condition.parse(figure, text).text == text


def test_many_gates_seldom_fail_where_nothing_changed(tmp_path: Path):
    """Two engines, three gates, attacks that differ on a few samples either way: at most 5 % of verdicts fail."""
    random = np.random.default_rng(0)
    lines = [f"{figure} >= baseline" for figure in ("robust_accuracy", "clean_accuracy", "whitebox_agreement")]

    def noisy() -> dict[str, Any]:
        return {
            name: bits(1000, *(np.flatnonzero(random.random(1000) < 0.005) for _ in range(3)))
            for name in ("one", "two")
        }

    outcomes = [verdict(tmp_path, lines, {"engines": noisy()}, {"engines": noisy()}).outcome for _ in range(60)]
    assert outcomes.count("fail") <= 6, "the binomial's 97.5th percentile at 5 %"
    assert outcomes.count("pass") >= 54
