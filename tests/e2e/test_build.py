"""`edgeproof build`, as its user meets it: files, report, nothing done twice, nothing lost to a kill."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.core.model_file import sha256_of

from tests import warm
from tests.cpu_seconds import of_process
from tests.e2e.conftest import ENV, NO_CURVE, edgeproof, small_build, small_recipe, with_checkpoint

pytestmark = pytest.mark.slow


def test_report_json_is_as_documented(run: Path):
    report = json.loads((run / "report.json").read_text())
    assert report["schema_version"] == 3
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["when"])
    assert report["test_images"] == 500
    assert (report["verdict"], report["exit_code"], report["name"]) == ("pass", 0, "digits")
    assert report["recipe_digest"].startswith("sha256:")
    assert report["threat_model"] == {"norm": "Linf", "eps": 0.1}
    assert [subject["name"] for subject in report["subjects"]] == ["teacher", "student", "onnxruntime"]
    teacher, student, engine = report["subjects"]
    for subject in (teacher, student):
        assert subject["kind"] == "torch"
        assert list(subject["attacks"])[:4] == ["apgd-ce", "apgd-t", "fab-t", "square"]
        assert subject["samples"] == 24
    assert engine["kind"] == "engine"
    assert engine["path"] == "engines/onnxruntime/model.onnx"
    assert engine["precision"] == "int8"
    assert list(engine["routes"]) == ["replay", "whitebox", "probe", "square", "rounded"]
    assert set(engine["latency_ms"]) == {"batch", "p50", "p90", "p99"}
    assert engine["latency_ms"]["batch"] == 1
    assert engine["size_bytes"] == (run / engine["path"]).stat().st_size
    assert engine["retention"] == pytest.approx(engine["robust_accuracy"] / student["robust_accuracy"])
    with (
        np.load(run / "verification" / "student.npz") as mine,
        np.load(run / "verification" / "onnxruntime.npz") as its,
    ):
        before, after = mine[mine.files[-1]], its[its.files[-1]]
    paired = engine["against_student"]
    assert (paired["lost"], paired["gained"]) == ((before & ~after).sum(), (~before & after).sum())
    assert paired["ci"][0] <= paired["difference"] <= paired["ci"][1]
    assert 0.98 <= engine["twin_agreement"]["adversarial"] <= 1
    low, high = engine["robust_accuracy_ci"]
    assert low < engine["robust_accuracy"] < high
    assert report["environment"]["attacks"] == "pyautoattack 0.2.0"
    (gate,) = report["gates"]
    assert (gate["name"], gate["limit"], gate["outcome"]) == ("clean_accuracy", ">= 0.5", "pass")
    sizes = {(row["subject"], row["batch"]) for row in engine["bench"]["latency_ms"]}
    assert sizes == {(name, batch) for name in ("engine", "float", "eager") for batch in (1, 32)}


def test_bits_say_the_same_as_the_report(run: Path):
    report = json.loads((run / "report.json").read_text())
    for subject in report["subjects"]:
        with np.load(run / "verification" / f"{subject['name']}.npz") as bits:
            by_route = subject.get("routes") or subject["attacks"]
            for route, value in by_route.items():
                assert bits[route].mean() == pytest.approx(value)
            assert bits["clean_correct"].mean() == pytest.approx(subject["clean_accuracy"])
            assert list(bits[route]) == list(bits[route] & bits["clean_correct"])


def test_every_listed_file_is_there_and_as_listed(run: Path):
    import hashlib

    manifest = json.loads((run / "manifest.json").read_text())
    listed = {entry["path"]: entry["sha256"] for entry in manifest["artifacts"]}
    for path, digest in listed.items():
        assert hashlib.sha256((run / path).read_bytes()).hexdigest() == digest
    standing = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and ".store" not in path.parts}
    assert standing == set(listed) | {"manifest.json"}
    assert {"teacher/model.safetensors", "student/last.safetensors", "export/model.onnx"} <= standing


def test_the_engine_tells_where_it_comes_from(run: Path):
    report = json.loads((run / "report.json").read_text())
    model = onnx.load(run / "engines" / "onnxruntime" / "model.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["edgeproof.recipe_digest"] == report["recipe_digest"]
    assert properties["edgeproof.precision"] == "int8"


def test_best_and_last_are_recorded(run: Path):
    for name in ("teacher", "student"):
        training = json.loads((run / name / "training.json").read_text())
        scores = [(epoch["pgd_accuracy"], epoch["clean_accuracy"]) for epoch in training["history"]]
        assert (training["best"]["pgd_accuracy"], training["best"]["clean_accuracy"]) == max(scores)
        assert training["last"]["epoch"] == len(training["history"])


def test_a_second_build_does_nothing_but_report(run: Path):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    done = edgeproof(*small_build(run))
    assert done.code == 0
    assert "PASS" in done.out
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    assert before == after


def test_a_finished_build_needs_no_torch(run: Path):
    """Importing torch alone would cost most of the three seconds that a finished build may take."""
    arguments = [str(part) for part in small_build(run)]
    code = (
        "import sys; from edgeproof.pipeline.cli.main import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("0 False"), done.stderr


def test_a_stage_command_on_a_finished_run_changes_nothing(run: Path):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    done = edgeproof("export", *small_recipe(run))
    assert done.code == 0
    assert str(run / "export" / "model.onnx") in done.out
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    assert before == after


def test_an_altered_file_is_mended(run: Path):
    path = run / "student" / "model.safetensors"
    original = path.read_bytes()
    path.write_bytes(original[:-1] + b"\0")
    assert edgeproof(*small_build(run)).code == 0
    assert path.read_bytes() == original


def test_json_prints_one_document_and_nothing_else(run: Path):
    done = edgeproof(*small_build(run, "--json"))
    assert json.loads(done.out) == json.loads((run / "report.json").read_text())
    assert done.err == ""


def test_the_seed_of_a_later_stage_leaves_the_earlier_ones_alone(run: Path):
    teacher = (run / "teacher" / "model.safetensors").stat().st_mtime_ns
    done = edgeproof("quantize", *small_recipe(run, "--set", "quantize.calibration.samples=16"))
    assert done.code == 0, done.err
    assert (run / "teacher" / "model.safetensors").stat().st_mtime_ns == teacher
    assert json.loads((run / "quantize" / "u8s8" / "calibration.json").read_text())["samples"] == 16
    assert edgeproof(*small_build(run)).code == 0  # back again
    assert json.loads((run / "quantize" / "u8s8" / "calibration.json").read_text())["samples"] == 256


def test_report_gate_and_bench_of_a_run(run: Path):
    shown = edgeproof("report", run)
    assert shown.code == 0
    assert "onnxruntime" in shown.out
    assert edgeproof("gate", run, "--require", "retention >= 5").code == 1
    bits = run / "verification"
    compared = json.loads(edgeproof("compare", bits / "student.npz", run, "--json").out)
    paired = json.loads((run / "report.json").read_text())["subjects"][-1]["against_student"]
    assert [len(compared["lost"]), len(compared["gained"])] == [paired["lost"], paired["gained"]]
    assert [compared[key] for key in ("difference", "ci", "p")] == [paired[key] for key in ("difference", "ci", "p")]
    engine, floating = run / "engines" / "onnxruntime" / "model.onnx", run / "export" / "model.onnx"
    timed = json.loads(edgeproof("bench", engine, "--against", floating, "--repeats", "20", "--json").out)
    assert [each["file"] for each in timed["engines"]] == [str(engine), str(floating)]
    assert timed["engines"][0]["size_bytes"] == engine.stat().st_size
    assert {(each["engine"], each["against"]) for each in timed["ratios"]} == {(str(floating), str(engine))}
    assert "Robust accuracy is the worst case" in (run / "summary.md").read_text()


def test_earlier_packs_are_replayed_on_the_engines(run: Path, tmp_path: Path):
    """Only engines are attacked again; a pack that is not there is told with its key."""
    again = tmp_path / "again"
    shutil.copytree(run, again)
    pack = run / "adversarial" / "teacher.npz"
    one_missing = edgeproof(*small_build(again, "--set", f"verify.packs=[{pack}, {tmp_path / 'gone.npz'}]"))
    assert one_missing.code == 2
    assert f"verify.packs.1: {tmp_path / 'gone.npz'}: no such file" in one_missing.err
    done = edgeproof(
        *small_build(again, "--store", again / ".store", "--set", f"verify.packs=[{pack}]", "--set", NO_CURVE)
    )
    assert done.code == 0, done.err
    manifest = json.loads((again / "adversarial" / "manifest.json").read_text())
    assert manifest["replayed"] == [{"file": "teacher.npz", "sha256": sha256_of(pack)}]
    made = {stage.name: len(list(stage.iterdir())) for stage in (again / ".store" / "attack").iterdir()}
    assert made == {"teacher": 1, "student": 1, "onnxruntime": 2}


def test_a_teacher_from_a_checkpoint(run: Path, tmp_path: Path):
    source = run / "teacher" / "model.safetensors"
    overrides = with_checkpoint(source, "teacher.model=null")
    done = edgeproof("teacher", *small_recipe(tmp_path / "run"), *overrides)
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "teacher" / "model.safetensors").read_bytes() == source.read_bytes()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["external"] == {"0/model.safetensors": sha256_of(source)}


def test_a_killed_build_leaves_no_workers_behind(run: Path, tmp_path: Path):
    out = tmp_path / "digits"
    shutil.copytree(run, out)
    more = ["verify.seed=1", "verify.shard_size=12", "verify.square_queries=5000"]
    recipe = small_recipe(out, *(part for override in more for part in ("--set", override)))
    command = [sys.executable, "-m", "edgeproof", "build", *map(str, recipe), "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENV)
    workers: list[int] = []
    deadline = time.monotonic() + 60
    while len(workers) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
        workers = [pid for pid in children(process.pid) if "popen_loky" in command_of(pid)]
    assert len(workers) == 2
    time.sleep(5)  # let them load torch and start on their shards
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while any("popen_loky" in command_of(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any("popen_loky" in command_of(pid) for pid in workers)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(part) for part in text.split()]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def test_killed_at_any_moment_and_built_again_gives_the_same_files(run: Path, tmp_path: Path):
    """kill -9 at moments spread over the whole run, by CPU time; each attempt gets further, the last one ends."""
    out = tmp_path / "digits"
    killed = 0
    for attempt in range(5):
        process = warm.Process([*map(str, small_build(out, "--store", out / ".store"))], env=ENV)
        while process.poll() is None and of_process(str(process.pid)) < 0.8 + 0.6 * attempt:
            time.sleep(0.02)
        killed += process.kill() == -signal.SIGKILL
    assert killed >= 3
    assert edgeproof(*small_build(out, "--store", out / ".store")).code == 0
    timed = {
        "report.html",
        "report.json",
        "summary.md",
        "manifest.json",
        "bench/onnxruntime/bench.json",
        "bench/ledger/bench.json",
    }
    timed |= {f"{stage}/metrics.csv" for stage in ("teacher", "student")}
    compared = 0
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.is_file() and not name.startswith(".store") and "tensorboard" not in name and name not in timed:
            assert (out / name).read_bytes() == path.read_bytes(), name
            compared += 1
    assert compared > 15
    assert not list((out / ".store" / "partial").iterdir())


def test_two_processes_share_the_trainings(tmp_path: Path):
    out = tmp_path / "run"
    settings = ("teacher.train.epochs=1", "distill.epochs=1", "distill.method=mtard")
    natural = "natural_teacher={model: cnn8_wide, train: {method: standard, epochs: 1}}"
    overrides = [part for setting in (*settings, natural) for part in ("--set", setting)]
    own = ["--store", out / ".store"]  # that nothing is made yet
    done = edgeproof("distill", *small_recipe(out, *own), *overrides, "--devices", "2", "--accelerator", "cpu")
    assert done.code == 0, done.err
    assert "BatchNorm sees each process's part" in done.err  # which is said only where there are several
    for name in ("teacher", "natural_teacher", "student"):
        assert done.out.count(f"{name}/model.safetensors") >= 1
        assert (out / name / "model.safetensors").is_file()
    assert not list((out / ".store" / "partial").iterdir())


def test_two_recipes_with_one_teacher_train_it_once(tmp_path: Path):
    """The second has another student; the first one's folder stays whole without the store."""
    quick = ["--set", "teacher.train.epochs=1", "--set", "distill.epochs=1", "--store", tmp_path / "shared"]
    for name, more in (("one", []), ("two", ["--set", "distill.seed=1"])):
        done = edgeproof("distill", *small_recipe(tmp_path / name, *quick, *more))
        assert done.code == 0, done.err
    made = {stage: len(list((tmp_path / "shared" / stage).iterdir())) for stage in ("teacher", "student")}
    assert made == {"teacher": 1, "student": 2}
    shutil.rmtree(tmp_path / "shared")
    for name in ("one", "two"):
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert all((tmp_path / name / entry["path"]).is_file() for entry in manifest["artifacts"])


def test_a_cached_build_draws_nothing_and_imports_little(run: Path):
    """Every stage is there, and the request is new to the run: the page is not drawn again."""
    arguments = [str(part) for part in small_build(run, "--set", "verify.seed=0")]
    heavy = ("matplotlib", "scipy.stats", "sklearn", "pandas", "torchvision", "lightning_fabric", "onnxscript")
    code = (
        "import sys; from edgeproof.pipeline.cli.main import app\n"
        f"try: app({arguments!r})\n"
        f"except SystemExit as end: print(end.code, [n for n in {heavy!r} if n in sys.modules], file=sys.stderr)"
    )
    page = (run / "report.html").read_bytes()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("0 []"), done.stderr
    assert (run / "report.html").read_bytes() == page
    assert edgeproof(*small_build(run)).code == 0  # back again
