"""The bar of a run on a terminal."""

from __future__ import annotations

import io
import re
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from edgeproof.pipeline import progress
from edgeproof.pipeline.gates import Condition
from edgeproof.pipeline.progress import Reporter
from edgeproof.stages.verify.position import Position
from edgeproof.stages.verify.shards.sequential import Sequential, confidence_sequence


@pytest.mark.parametrize("width", [80, 200])
def test_robust_accuracy_and_interval_are_whole_on_a_terminal_of_any_width(monkeypatch: pytest.MonkeyPatch, width: int):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    with Reporter().stage("attack onnxruntime") as bar:
        bar.shards(14, 14, 1500, 1300)
    shown = screen.getvalue()
    assert "robust 0.867 [0.848, 0.883] on 1500" in shown
    assert "attack onnxruntime" in shown
    assert "14/14" in shown
    assert "…" not in shown


RUNNING = (Position("hop-skip-jump", 75, 43, 0.25), Position("apgd-t", 75, 50, 0.5))


def test_within_a_shard_the_bar_says_attack_samples_left_robust_so_far_and_time_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "80")
    screen, clock = io.StringIO(), iter(range(0, 36000, 1800))
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with suppress(ZeroDivisionError), Reporter().stage("attack/onnxruntime") as bar:
        bar.shards(0, 14, 0, 0)
        bar.shards(1, 14, 75, 60, RUNNING)
        raise ZeroDivisionError  # ended here, the bar stays as it is
    shown = screen.getvalue()
    # 1.75 of 14 shards in 1,800 s; 60 of 75 are robust, and 93 of 150 stand still.
    assert "1/14" in shown
    assert "3:30:00" in shown
    assert "hop-skip-jump +1: 93 left, robust <= 0.680" in shown
    assert "…" not in shown


def test_without_a_terminal_every_stage_says_when_it_ends_and_long_ones_that_they_go_on(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(progress, "_FIRST", 0.01)
    monkeypatch.setattr(progress, "_AGAIN", 0.02)
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    reporter = Reporter()
    with reporter.stage("data", kept=True):
        pass
    with reporter.stage("attack onnxruntime", kept=True) as bar:
        bar.begin()
        bar.shards(1, 2, 750, 650)
        while "s, 1/2, robust 0.867" not in screen.getvalue():
            time.sleep(0.005)
        bar.shards(2, 2, 1500, 1300)
    with pytest.raises(ZeroDivisionError), reporter.stage("teacher"):
        raise ZeroDivisionError
    lines = screen.getvalue().splitlines()
    assert lines[:2] == ["data: from the store", "attack onnxruntime: started"]
    assert lines[-1] == "attack onnxruntime: finished in 0 s, 2/2, robust 0.867 [0.848, 0.883] on 1500"
    with Reporter().stage("data"):
        pass
    with Reporter(quiet=True).stage("teacher") as bar:
        bar.count(1, 2)
    assert screen.getvalue().splitlines() == lines


def test_without_a_terminal_the_lines_say_the_same_of_a_shard_that_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "_FIRST", 0.01)
    monkeypatch.setattr(progress, "_AGAIN", 0.02)
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    with Reporter().stage("attack onnxruntime") as bar:
        bar.shards(0, 4, 0, 0)
        while "about" not in screen.getvalue():
            bar.shards(1, 4, 75, 60, RUNNING)
            time.sleep(0.005)
    assert re.search(r"s, 1/4, hop-skip-jump \+1: 93 left, robust <= 0\.680, about \d\d:\d\d to go", screen.getvalue())


@pytest.mark.parametrize(("gate", "shown"), [("robust_accuracy >= 0.6", True), ("clean_accuracy >= 0.6", False)])
def test_a_run_that_may_stop_shows_the_interval_that_holds_at_any_stop_and_no_other(
    monkeypatch: pytest.MonkeyPatch, gate: str, shown: bool
):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    with Reporter().stage("attack onnxruntime") as bar:
        bar.shards_until(Sequential((Condition.parse_line(gate),), 500), 20, 20, 50, 43)
    low, high = confidence_sequence(43, 50, 500)
    assert (f"robust 0.860 [{low:.3f}, {high:.3f}] on 50" in screen.getvalue()) is shown
    assert ("robust 0.860 on 50" in screen.getvalue()) is not shown
