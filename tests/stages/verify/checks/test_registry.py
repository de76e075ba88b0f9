"""The registry of the checks: what one file brings, and that every counter of each is shown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeproof.core.errors import StageError, UsageError
from edgeproof.stages.data import Split
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Attacked, Evaluation, VerifyConfig, attack_subject
from edgeproof.stages.verify.aggregate import Ledger, aggregate
from edgeproof.stages.verify.checks.base import Check, Finding, Row, Shard, checks, in_order, rows_of, rows_of_counts
from edgeproof.stages.verify.checks.huge_eps import HugeEpsCounts
from edgeproof.stages.verify.checks.monotonicity import MonotonicityCounts
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.evidence.counts import Counter, Counts
from edgeproof.stages.verify.evidence.shard_result import ShardResult
from edgeproof.stages.verify.figures import FIGURES_FILE

from tests.stages.verify.linear_subject import LinearSubject, draw_split

CONFIG = VerifyConfig(square_queries=20, strong_restarts=1, shard_size=15, curve=None)
THREAT = ThreatModel(norm="Linf", eps=0.02)
SPLIT = draw_split(30)
# As `counts` of a subject in the verification/figures.json of edgeproof 0.1.
_WRITTEN = """
    clean_agreeing clean_compared adversarial_agreeing adversarial_compared surrogate_fooled surrogate_withstood
    missed_by_white_box missed_by_strong search_missed search_missed_by_strong standing huge_eps_attacked
    huge_eps_survived unstable asked_again changed fresh_asked fresh_changed flat flat_compared elsewhere_compared
    elsewhere_other hidden inner_agreeing inner_compared failing gradients_asked gradients_gone monotone_asked
    fewer_steps_better wider_ball_worse
"""
WRITTEN_BEFORE = _WRITTEN.split()


@dataclass
class DarkCounts(Counter):
    dark_asked: int = 0
    dark_images: int = 0
    brightest: int = 0

    def __add__(self, other: DarkCounts) -> DarkCounts:
        asked, dark = self.dark_asked + other.dark_asked, self.dark_images + other.dark_images
        return DarkCounts(asked, dark, max(self.brightest, other.brightest))


class Dark(Check[DarkCounts]):
    """Images are dark."""

    name = "dark"
    counts = DarkCounts
    rows = (Row("images looked at", "dark_asked", "darker than gray", "dark_images"),)

    def count(self, shard: Shard) -> DarkCounts:
        means = shard.result.split.images.mean((1, 2, 3))
        return DarkCounts(len(means), int((means < 0.5).sum()), int(100 * means.max()))

    def judge(self, counts: DarkCounts, tally: Any) -> list[Finding]:
        return [Finding(self.name, f"{counts.dark_images} of {counts.dark_asked} are dark", inconclusive=False)]


@pytest.fixture
def dark() -> Iterator[Dark]:
    check = Dark()
    checks.register(check.name)(check)
    yield check
    del checks._entries[check.name]


def attacked(folder: Path, split: Split = SPLIT) -> Attacked:
    folder.mkdir(exist_ok=True)
    attack_subject(LinearSubject(), Evaluation(split, THREAT, CONFIG), ("apgd-ce", "square"), folder)
    return Attacked.load(folder)


def test_no_two_checks_count_under_one_name_and_those_of_the_first_version_are_all_there():
    names = [field.name for check in in_order() for field in fields(check.counts)]
    assert len(names) == len(set(names))
    assert set(WRITTEN_BEFORE) <= set(names)


def test_every_counter_has_its_place_in_the_rows():
    values = {field.name: place for place, check in enumerate(in_order()) for field in fields(check.counts)}
    values = {name: 1000 + place for place, name in enumerate(values)}
    for check in in_order():
        mine = {field.name: values[field.name] for field in fields(check.counts)}
        rows = rows_of(check, check.counts(**mine))
        assert {number for _, of, _, count in rows for number in (of, count)} - {None} == set(mine.values()), check.name
        assert all(asked and outcome for asked, _, outcome, _ in rows)
    shown = rows_of_counts({name: values[name] for name in WRITTEN_BEFORE})
    assert {number for row in shown for number in row[1::2]} - {None} == {values[name] for name in WRITTEN_BEFORE}


def test_a_check_is_one_class_that_is_registered(dark: Dark, tmp_path: Path):
    found = attacked(tmp_path / "attack")
    means = SPLIT.images.mean((1, 2, 3))
    sentence = f"{(means < 0.5).sum()} of 30 are dark"
    assert {"name": "dark", "sentence": sentence, "inconclusive": False} in found.summary["findings"]  # type: ignore[operator]
    (tmp_path / "out").mkdir()
    evaluation = Evaluation(SPLIT, THREAT, CONFIG)
    aggregate(Ledger({"linear": LinearSubject()}), {"linear": found}, evaluation, tmp_path / "out")
    assert '"dark"' in (tmp_path / "out" / FIGURES_FILE).read_text()
    counted = found.summary["checks"]["dark"]  # type: ignore[index]
    counts = {"dark_asked": 30, "dark_images": int((means < 0.5).sum()), "brightest": int(100 * means.max())}
    assert counted["counts"] == counts, "two shards: two counters add up, of one the larger is kept"
    assert counted["rows"] == [
        ["images looked at", 30, "darker than gray", counts["dark_images"]],
        ["dark", None, "brightest", counts["brightest"]],
    ]
    assert in_order()[-1] is dark, "whoever comes from elsewhere asks last"


def test_a_check_that_fails_is_named(dark: Dark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Dark, "count", lambda self, shard: shard.nothing)
    with pytest.raises(StageError, match=r"^check dark: raised AttributeError"):
        attacked(tmp_path / "raises")
    monkeypatch.setattr(Dark, "count", lambda self, shard: Counter())
    with pytest.raises(StageError, match=r"^check dark: it counts DarkCounts, and returned Counter\(\)"):
        attacked(tmp_path / "returns")


def test_a_check_has_one_name(dark: Dark, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Dark, "name", "night")
    with pytest.raises(UsageError, match="the check 'dark' calls itself 'night'; register it under that name"):
        in_order()
    monkeypatch.undo()


def test_checks_that_compare_one_attack_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from edgeproof.stages.verify.checks import huge_eps

    runs: list[int] = []
    original = huge_eps._fall_quickly
    monkeypatch.setattr(huge_eps, "_fall_quickly", lambda batch, *rest: (runs.append(1), original(batch, *rest))[1])
    found = attacked(tmp_path / "attack").summary["checks"]
    asked = [found["huge-eps"]["counts"]["huge_eps_attacked"], found["not-monotone"]["counts"]["monotone_asked"]]  # type: ignore[index]
    assert asked == [2, 2], "one of fifteen, of each shard"
    assert len(runs) == 2, "once a shard"


def test_what_a_shard_counted_survives_its_file(tmp_path: Path):
    counts = Counts(HugeEpsCounts(7, 3), DarkCounts(4, 2, 1))
    split, none = SPLIT.take(slice(0, 2)), Candidates.none(SPLIT.images.shape[1:])
    ShardResult(split, np.ones(2, bool), {}, none, counts).save(tmp_path / "shard.npz")
    again = ShardResult.load(tmp_path / "shard.npz").counts
    assert again[HugeEpsCounts] == HugeEpsCounts(7, 3)
    assert again[MonotonicityCounts] == MonotonicityCounts()
    assert again.as_json() == {**counts.as_json(), **Counts(MonotonicityCounts()).as_json()}
    assert asdict(again[DarkCounts]) == {"dark_asked": 4, "dark_images": 2, "brightest": 1}


def test_the_words_of_the_checks_need_no_torch():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "from edgeproof.stages.verify.checks.base import rows_of_counts\n"
        "print(rows_of_counts({'failing': 3}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert ", 3)]" in done.stdout
