"""Baseline files: small, whole, and refused where anybody touched them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.core.reading.checksum import with_checksum
from edgeproof.pipeline.commands.gate import gate
from edgeproof.pipeline.gates.baseline import Baseline, ranges, rows_of, save
from edgeproof.pipeline.gates.record import Record
from edgeproof.pipeline.gates.record_of_run import record_of

from tests.finished_run import bits, finished


def drawn(run: Path) -> Record:
    return record_of(json.loads((run / "report.json").read_text()), run)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    columns = bits(1000, broken=random.choice(1000, 150, replace=False).tolist(), misread=[3, 999], early=[5, 6])
    shuffled = random.permutation(1000)
    more = {"onnxruntime": {"size_bytes": 13741, "precision": "int8", "twin_agreement": {"clean": 1.0}}}
    return finished(
        tmp_path / "run",
        {"onnxruntime": {key: column[shuffled] for key, column in columns.items()}, "other": bits(7)},
        student=bits(1000),
        more=more,
    )


def test_what_is_written_is_what_is_read(run: Path, tmp_path: Path):
    record = drawn(run)
    checksum = save(record, tmp_path / "new" / "base.json")
    found = Baseline.load(tmp_path / "new" / "base.json")
    assert found.checksum == checksum
    for name, subject in record.subjects.items():
        same = found.record.subjects[name]
        assert (same.rows == subject.rows).all()
        assert (np.diff(same.rows) > 0).all(), "ascending, whatever the order of the file"
        assert same.bits.keys() == subject.bits.keys()
        assert all((same.bits[key] == subject.bits[key]).all() for key in subject.bits)
        assert (same.kind, same.about, same.routes, same.figures) == (
            subject.kind,
            subject.about,
            subject.routes,
            subject.figures,
        )
    assert (found.record.threat, found.record.dataset) == (
        {"norm": "Linf", "eps": 0.1},
        {"name": "digits", "digest": "d"},
    )
    assert (found.record.seed, found.record.settings["square_queries"]) == (0, 5000)
    with np.load(run / "verification" / "onnxruntime.npz") as arrays:
        order = np.argsort(arrays["index"])
        assert (found.record.subjects["onnxruntime"].bits["robust"] == arrays["square"][order]).all()


def test_a_thousand_samples_are_a_few_kilobytes_of_short_keys(run: Path, tmp_path: Path):
    path = tmp_path / "base.json"
    save(drawn(run), path)
    assert path.stat().st_size < 10_000
    assert sum(len(line) > 120 for line in path.read_text().splitlines()) <= 8, "the rows, and the columns of bits"


def test_the_same_run_writes_the_same_bytes(run: Path, tmp_path: Path):
    for name in ("one.json", "two.json"):
        save(drawn(run), tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert sorted(path.name for path in tmp_path.glob("*")) == ["one.json", "run", "two.json"], (
        "no partial file is left"
    )


@pytest.mark.parametrize("rows", [[], [0], [0, 1, 2], [3, 5, 6, 7, 20], list(range(10, 5000, 3))])
def test_rows_come_back(rows: list[int]):
    assert rows_of(ranges(np.array(rows, int))).tolist() == rows


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda text: text[: len(text) // 2], "not a baseline (no valid JSON); it may be truncated"),
        (lambda text: text.replace('"sequential": false', '"sequential": true', 1), "altered since it was written"),
        (lambda text: text.replace('"eps": 0.1', '"eps": 0.2'), "altered since it was written"),
        (lambda text: text.replace("ff", "fe", 1), "altered since it was written"),
        (lambda text: text.replace('"edgeproof_baseline": 1', '"edgeproof_baseline": 2'), "version 2, this edgeproof"),
        (lambda text: text.replace('"edgeproof_baseline"', '"something"'), "not a baseline; `edgeproof gate RUN"),
        (lambda text: "<<<<<<< HEAD\n" + text, "no valid JSON"),
        (lambda _: "[]", "not a baseline;"),
        (lambda _: "\xff\xfe", "no valid JSON"),
    ],
)
def test_a_file_that_somebody_touched_is_refused_in_a_line(harm, words: str, run: Path, tmp_path: Path):
    path = tmp_path / "base.json"
    save(drawn(run), path)
    path.write_text(harm(path.read_text()), encoding="latin-1")
    with pytest.raises(UsageError) as caught:
        Baseline.load(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"--baseline {path}: ")
    assert "\n" not in str(caught.value)


def test_a_checksum_over_nonsense_does_not_make_it_sense(run: Path, tmp_path: Path):
    path = tmp_path / "base.json"
    save(drawn(run), path)
    content = json.loads(path.read_text())
    for key, value in (("rows", "1-3"), ("subjects", []), ("rows", 7)):
        path.write_text(json.dumps(with_checksum({**content, key: value})))
        with pytest.raises(UsageError, match="not a baseline of this version"):
            Baseline.load(path)


def test_where_nothing_can_be_written(run: Path, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"--baseline .*base\.json: cannot be written"):
        save(drawn(run), tmp_path / "file" / "base.json")
    with pytest.raises(UsageError, match="cannot be written"):
        save(drawn(run), run)


def test_bits_of_another_run_are_refused(tmp_path: Path):
    gates = [{"name": "robust_accuracy", "limit": ">= 0.75"}]
    run = finished(tmp_path / "run", {"onnxruntime": bits(200, range(40))}, student=bits(200), gates=gates)
    save(drawn(run), tmp_path / "base.json")
    content = (tmp_path / "base.json").read_bytes()

    def refused(words: str) -> None:
        for update in (False, True):
            with pytest.raises(UsageError, match=words):
                gate(run, baseline=tmp_path / "base.json", update_baseline=update, force=update)
        assert (tmp_path / "base.json").read_bytes() == content

    np.savez_compressed(run / "verification" / "onnxruntime.npz", **bits(200))
    refused(r"onnxruntime\.npz: its robust_accuracy is 1, the report says 0\.8")
    (run / "verification" / "onnxruntime.npz").unlink()
    refused("no such file")
    with pytest.raises(UsageError, match="no such file"):
        drawn(run)
