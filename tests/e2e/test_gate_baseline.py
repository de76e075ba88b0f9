"""`edgeproof gate` against a baseline, as a merge request meets it: files, exit codes, one line for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import ENV, edgeproof
from tests.e2e.test_commands import one_line
from tests.finished_run import bits, finished

GATES = [{"name": "clean_accuracy", "limit": ">= 0.9"}]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A committed baseline of a run that passes."""
    run = finished(tmp_path / "main", {"onnxruntime": bits(1000, range(100))}, gates=GATES)
    path = tmp_path / "baselines" / "digits.json"
    done = edgeproof("gate", run, "--baseline", path, "--update-baseline")
    assert done.code == 0, done.err
    assert f"baseline: {path} (" in done.out
    return path


def test_a_harmless_change_is_green_and_a_regression_red(base: Path, tmp_path: Path):
    harmless = finished(tmp_path / "harmless", {"onnxruntime": bits(1000, range(3, 102))}, gates=GATES)
    before = base.read_bytes()
    done = edgeproof("gate", harmless, "--baseline", base, "--json")
    assert (done.code, json.loads(done.out)["verdict"]) == (0, "pass")
    worse = finished(tmp_path / "worse", {"onnxruntime": bits(1000, range(5, 135))}, gates=GATES)
    done = edgeproof("gate", worse, "--baseline", base, "--json")
    report = json.loads(done.out)
    assert (done.code, report["exit_code"], report["schema_version"]) == (1, 1, 3)
    gate = next(each for each in report["gates"] if each["outcome"] == "fail")
    assert gate["name"] == "robust_accuracy"
    assert gate["reason"].startswith("robust accuracy lost 3.0 points [")
    assert "35 samples lost, 5 gained of 1000" in gate["reason"]
    done = edgeproof("gate", worse, "--baseline", base)
    assert done.code == 1
    assert "robust_accuracy >= baseline: fail. onnxruntime: robust accuracy lost 3.0 points" in " ".join(
        done.out.split()
    )
    assert base.read_bytes() == before, "only --update-baseline writes it"


def test_a_regression_within_the_margin_is_green(base: Path, tmp_path: Path):
    worse = finished(tmp_path / "worse", {"onnxruntime": bits(1000, range(120))}, gates=GATES)
    assert edgeproof("gate", worse, "--baseline", base).code == 1
    within = ("--require", "robust_accuracy >= baseline - 0.03", "--require", "clean_accuracy >= baseline")
    assert edgeproof("gate", worse, "--baseline", base, *within).code == 0


def test_an_update_that_is_refused_says_so_and_keeps_the_old_one(base: Path, tmp_path: Path):
    bad = finished(tmp_path / "bad", {"onnxruntime": bits(1000, misread=range(200))}, gates=GATES)
    before = base.read_bytes()
    done = edgeproof("gate", bad, "--baseline", base, "--update-baseline")
    assert done.code == 1
    (line,) = done.err.strip().splitlines()
    assert "was not written, as the run does not pass by itself (clean_accuracy: 0.8000 misses >= 0.9); --force" in line
    assert base.read_bytes() == before
    assert edgeproof("gate", bad, "--baseline", base, "--update-baseline", "--force").code == 1
    assert base.read_bytes() != before


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("altered", "altered since it was written"),
        ("truncated", "may be truncated"),
        ("missing", "no such file"),
        ("folder", "not a baseline"),
        ("report", "not a baseline; `edgeproof gate RUN --update-baseline` writes one"),
        ("other threat", "its threat model is Linf 0.1, the run's is Linf 0.3"),
        ("other data", "its data set is 'digits', the run's 'mnist'"),
        ("no bits", "no such file; it lies in the run's folder"),
        ("broken bits", "no per-sample bits"),
        ("other bits", "its robust_accuracy is 0.991, the report says 1"),
    ],
)
def test_what_cannot_be_compared_is_one_line(harm: str, words: str, base: Path, tmp_path: Path):
    more = {
        "other threat": {"threat_model": {"norm": "Linf", "eps": 0.3}},
        "other data": {"dataset": {"name": "mnist", "digest": "m"}},
    }.get(harm, {})
    run = finished(tmp_path / "run", {"onnxruntime": bits(1000)}, gates=GATES, **more)
    file = run / "verification" / "onnxruntime.npz"
    if harm == "altered":
        base.write_text(base.read_text().replace('"attacks": "pyautoattack 0.2.0"', '"attacks": "pyautoattack 0.1"'))
    elif harm == "truncated":
        base.write_bytes(base.read_bytes()[:-200])
    elif harm == "missing":
        base.unlink()
    elif harm == "folder":
        base.unlink()
        base.mkdir()
    elif harm == "report":
        base.write_bytes((run / "report.json").read_bytes())
    elif harm == "no bits":
        file.unlink()
    elif harm == "broken bits":
        file.write_bytes(file.read_bytes()[:100])
    elif harm == "other bits":
        np.savez_compressed(file, **bits(1000, range(9)))
    one_line(edgeproof("gate", run, "--baseline", base), 2, words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--require", "robust_accuracy >= baseline"),
            "robust_accuracy >= baseline: name the baseline with --baseline FILE",
        ),
        (("--require", "robust_acuracy >= 1"), "unknown figure 'robust_acuracy'; did you mean 'robust_accuracy'?"),
        (("--require", "robust_accuracy >= baseline / 2"), "a limit is a comparison such as"),
        (("--update-baseline",), "--update-baseline: name the file with --baseline FILE"),
        (("--force",), "--force: goes with --update-baseline"),
    ],
)
def test_options_that_are_refused(options: tuple[str, ...], words: str, tmp_path: Path):
    one_line(edgeproof("gate", finished(tmp_path / "run", gates=GATES), *options), 2, words)


def test_verify_leaves_a_baseline_to_gate(tmp_path: Path):
    task = ("--dataset", "digits", "--eps", "0.1", "--out", tmp_path / "proof")
    done = edgeproof("verify", tmp_path / "model.onnx", *task, "--gate", "robust_accuracy >= baseline")
    one_line(done, 2, "--gate: robust_accuracy >= baseline: is held against a baseline by `edgeproof gate")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("subjects", [7, [3], [{"name": "onnxruntime"}], [{"name": 1, "kind": "engine"}]])
def test_a_report_with_other_subjects(subjects: object, tmp_path: Path):
    run = finished(tmp_path / "run", gates=GATES)
    content = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**content, "subjects": subjects}))
    one_line(edgeproof("gate", run), 2, "not a report of edgeproof")


def test_where_the_baseline_cannot_be_written(tmp_path: Path):
    run = finished(tmp_path / "run", gates=GATES)
    (tmp_path / "file").write_text("mine")
    one_line(
        edgeproof("gate", run, "--baseline", tmp_path / "file" / "b.json", "--update-baseline"), 2, "cannot be written"
    )


def test_finished_bits_are_judged_without_torch_statistics_of_scipy_or_a_runtime(base: Path, tmp_path: Path):
    """What makes it take under a second; the time itself is not tested, only that it is no matter of many seconds.

    Of scipy there is the inverse beta function, by which the report's intervals are computed again.
    """
    run = finished(tmp_path / "run", {"onnxruntime": bits(1000, range(2, 101))}, student=bits(1000), gates=GATES)
    code = (
        "import sys; from edgeproof.pipeline.cli.main import main\n"
        f"sys.argv = ['edgeproof', 'gate', {str(run)!r}, '--baseline', {str(base)!r}, '--json']\n"
        "try: main()\n"
        "except SystemExit: print({m for m in ('torch', 'onnxruntime', 'onnx', 'scipy.stats', 'sklearn') "
        "if m in sys.modules}, file=sys.stderr)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENV, check=False)
    assert done.stderr.strip() == "set()"
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_a_real_run_and_its_baseline(run: Path, tmp_path: Path):
    """A build's own report: its data set, settings and latency ratio reach the baseline; a harmed one is red."""
    base = tmp_path / "base.json"
    assert edgeproof("gate", run, "--baseline", base, "--update-baseline").code == 0
    content = json.loads(base.read_text())
    assert content["dataset"]["name"] == "digits"
    assert (content["seed"], content["samples"]) == (0, 24)
    assert content["settings"]["square_queries"] == 50
    engine = content["subjects"]["onnxruntime"]
    assert engine["routes"] == "replay whitebox probe square rounded"
    assert engine["figures"]["latency_ratio"]["low"] <= engine["figures"]["latency_ratio"]["high"]
    lines = ("robust_accuracy >= baseline, resolution 0.2", "retention >= baseline, resolution 0.9", "size_ratio <= 1")
    options = [part for line in lines for part in ("--require", line)]
    done = edgeproof("gate", run, "--baseline", base, *options, "--json")
    report = json.loads(done.out)
    assert done.code == 0, report["reasons"]
    assert any("the same file as the baseline's" in note for note in report["baseline"]["notes"])
    done = edgeproof("gate", run, "--baseline", base, "--json")
    assert (done.code, json.loads(done.out)["verdict"]) == (4, "inconclusive"), "24 samples exclude no loss of 3 points"
    assert "samples would decide" in json.loads(done.out)["reasons"][0]
