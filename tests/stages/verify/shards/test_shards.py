"""Sharded work: the same result for any number of workers, and nothing done twice after a kill."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import socket
import subprocess
from collections import Counter
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.errors import StageError, UsageError
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset, Split
from edgeproof.stages.statistics.paired import compare_paired
from edgeproof.stages.verify import (
    EngineSubject,
    Evaluation,
    TorchSubject,
    VerifyConfig,
    Workforce,
    attack_subject,
    sample,
)
from edgeproof.stages.verify import attack as attack_module
from edgeproof.stages.verify.aggregate import Ledger, aggregate
from edgeproof.stages.verify.attack import Attacked, divided
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.evidence.counts import Counts
from edgeproof.stages.verify.evidence.shard_result import ShardResult
from edgeproof.stages.verify.shards.machines import Machines
from edgeproof.stages.verify.shards.run_shards import run_shards
from edgeproof.stages.verify.shards.shard import attack_shard
from edgeproof.targets.base import EngineFile

from tests import warm

DATA = Path(__file__).parents[3] / "data"
CONFIG = VerifyConfig(square_queries=50, shard_size=10)
ORDER = ("apgd-ce",)


def same(first: Path, second: Path) -> bool:
    one, other = Attacked.load(first), Attacked.load(second)
    return (
        np.array_equal(one.robust, other.robust)
        and np.array_equal(one.candidates.images, other.candidates.images)
        and np.array_equal(one.index, other.index)
    )


def test_the_number_of_workers_changes_nothing(student: Classifier, digits: Dataset, threat, tmp_path: Path):
    split = digits.test.take(slice(0, 30))
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        attack_subject(
            TorchSubject("student", student),
            Evaluation(split, threat, CONFIG),
            ORDER,
            folder,
            workforce=Workforce(workers),
        )
    assert same(tmp_path / "1", tmp_path / "2")


def test_a_killed_run_goes_on_from_its_finished_shards(student, digits, threat, tmp_path: Path, monkeypatch):
    split = digits.test.take(slice(0, 30))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    attack_subject(TorchSubject("student", student), Evaluation(split, threat, CONFIG), ORDER, whole)
    calls: list[int] = []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return attack_shard(*arguments)

    monkeypatch.setattr(attack_module, "attack_shard", dying)
    with pytest.raises(KeyboardInterrupt):
        attack_subject(TorchSubject("student", student), Evaluation(split, threat, CONFIG), ORDER, killed)
    assert len(list((killed / "shards").glob("*.npz"))) == 2
    attack_subject(TorchSubject("student", student), Evaluation(split, threat, CONFIG), ORDER, killed)
    assert len(calls) == 4, "two shards were there already, so only the third is attacked again"
    assert same(whole, killed)


@pytest.mark.parametrize(
    ("samples", "sizes"),
    [(0, [0]), (30, [30]), (100, [50, 50]), (120, [40] * 3), (300, [75] * 4), (500, [125] * 4), (1000, [143] * 7)],
)
def test_a_few_hundred_samples_keep_several_cores_busy(samples: int, sizes: list[int]):
    for rows in (divided(samples, 150, 64), divided(samples, None, 32 * 32)):
        assert [len(part) for part in rows] == pytest.approx(sizes, abs=1)
        assert np.concatenate(rows).tolist() == list(range(samples))


@pytest.mark.parametrize(("samples", "sizes"), [(0, [0]), (200, [200]), (300, [150] * 2), (500, [250] * 2)])
def test_shards_of_tiny_images_are_larger_unless_told(samples: int, sizes: list[int]):
    assert [len(part) for part in divided(samples, None, 8 * 8)] == sizes
    assert max(len(part) for part in divided(samples, 60, 8 * 8)) <= 60


def test_the_sample_is_seeded_drawn_once_and_in_data_set_order(digits: Dataset):
    config = VerifyConfig(samples=50)
    first = sample(digits.test, config)
    assert len(set(first.index.tolist())) == 50
    assert (np.diff(first.index) > 0).all()
    assert np.array_equal(sample(digits.test, config).index, first.index)
    assert not np.array_equal(sample(digits.test, VerifyConfig(samples=50, seed=1)).index, first.index)
    assert len(sample(digits.test, VerifyConfig())) == 500
    with pytest.raises(UsageError, match="samples: 501 is more than the 500 test images"):
        sample(digits.test, VerifyConfig(samples=501))


@pytest.fixture(scope="module")
def run(student, int8_engine, int8_onnx, float_onnx, digits, threat, tmp_path_factory):
    """Student and engine attacked and settled, with small budgets."""
    folder = tmp_path_factory.mktemp("run")
    split = digits.test.take(slice(0, 40))
    config = VerifyConfig(square_queries=50, shard_size=20)
    subjects = {
        "student": TorchSubject("student", student),
        "onnxruntime": EngineSubject("onnxruntime", int8_engine, int8_onnx, ("relu",), float_onnx),
    }
    attacked: dict[str, Attacked] = {}
    for name, order in (("student", ("apgd-ce",)), ("onnxruntime", ("replay", "whitebox", "square"))):
        (folder / name).mkdir()
        pool = attacked["student"].candidates if attacked else None
        attack_subject(subjects[name], Evaluation(split, threat, config), order, folder / name, pool=pool)
        attacked[name] = Attacked.load(folder / name)
    ledger = Ledger(subjects, student="student", about={"dataset": {"name": "digits"}})
    aggregate(ledger, attacked, Evaluation(split, threat, config), folder)
    return folder, attacked, split


def test_replay_shows_the_students_losers_too(run):
    _, attacked, _ = run
    student, engine = attacked["student"], attacked["onnxruntime"]
    assert not (engine.bits["replay"] & ~engine.clean_correct).any()
    assert len(student.candidates) >= student.clean_correct.sum()


def test_per_sample_bits_and_pack_lie_beside_the_figures(run):
    folder, attacked, split = run
    for name in attacked:
        with np.load(folder / "verification" / f"{name}.npz") as bits:
            assert {"index", "label", "clean_correct"} <= set(bits.files)
            assert np.array_equal(bits["index"], split.index)
            assert np.array_equal(bits["label"], split.labels)
        with np.load(folder / "adversarial" / f"{name}.npz") as pack:
            assert np.abs(pack["adversarial"] - pack["clean"]).max() <= 0.1 + 1e-6
            assert pack["adversarial"].min() >= 0
            assert pack["adversarial"].max() <= 1


def test_the_engine_is_compared_with_the_student_sample_by_sample(run):
    folder, _, _ = run
    figures = json.loads((folder / "verification" / "figures.json").read_text())
    with np.load(folder / "verification" / "student.npz") as student:
        before = student["replay"]
    with np.load(folder / "verification" / "onnxruntime.npz") as engine:
        after = engine["square"]
    expected = compare_paired(before, after).as_json()
    assert figures["onnxruntime"]["against_student"] == expected
    assert "against_student" not in figures["student"]


def test_the_manifest_describes_the_packs(run, int8_engine):
    folder, attacked, _ = run
    manifest = json.loads((folder / "adversarial" / "manifest.json").read_text())
    assert manifest["dataset"] == {"name": "digits"}
    assert manifest["attacks"] == f"pyautoattack {version('pyautoattack')}"
    weights = hashlib.sha256((DATA / "student.safetensors").read_bytes()).hexdigest()
    for entry, (name, digest) in zip(
        manifest["packs"], [("student", weights), ("onnxruntime", int8_engine.sha256)], strict=True
    ):
        pack, found = folder / "adversarial" / f"{name}.npz", attacked[name]
        assert (entry["subject"], entry["file"], entry["subject_sha256"]) == (name, pack.name, digest)
        assert entry["sha256"] == hashlib.sha256(pack.read_bytes()).hexdigest()
        assert entry["attacks"] == Counter(found.candidates.attack.tolist())
        assert entry["candidates"] == len(found.candidates)
        attacked_rows = np.isin(found.index, found.candidates.index)
        assert entry["samples"] == attacked_rows.sum()
        with np.load(folder / "verification" / f"{name}.npz") as bits:
            assert entry["robust_accuracy"] == pytest.approx(
                bits["replay" if name == "student" else "square"][attacked_rows].mean()
            )


def test_both_face_the_same_candidates(run, student):
    """After settling, no candidate that anybody found fools a sample that still counts as robust."""
    import torch

    folder, attacked, _ = run
    everything = Candidates.join([found.candidates for found in attacked.values()], (1, 8, 8))
    with np.load(folder / "verification" / "student.npz") as bits:
        robust = dict(zip(bits["index"].tolist(), bits["replay"].tolist(), strict=True))
        label = dict(zip(bits["index"].tolist(), bits["label"].tolist(), strict=True))
    model = student.load()
    answers = model(torch.from_numpy(everything.images)).argmax(1).tolist()
    fooled = {index for index, answer in zip(everything.index.tolist(), answers, strict=True) if answer != label[index]}
    assert fooled
    assert not any(robust[index] for index in fooled)


def test_an_altered_engine_is_not_attacked(int8_onnx, digits, threat, tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(int8_onnx.read_bytes())
    subject = EngineSubject("onnxruntime", EngineFile.of("onnxruntime", path), path, ("relu",))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(Exception, match="altered"):
        attack_subject(subject, Evaluation(digits.test.take(slice(0, 5)), threat, CONFIG), ORDER, tmp_path)


HALF = """
import sys
from pathlib import Path
import torch
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import DataConfig, load_dataset
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Evaluation, TorchSubject, VerifyConfig, Workforce, attack_subject
from edgeproof.stages.verify.shards.machines import Machines

torch.set_num_threads(1)
weights, folder = map(Path, sys.argv[1:])
split = load_dataset(DataConfig(dataset="digits")).test.take(slice(0, 30))
student = TorchSubject("student", Classifier("cnn8_small", weights, (1, 8, 8), 10))
config, threat = VerifyConfig(square_queries=50, shard_size=10), ThreatModel(norm="Linf", eps=0.1)
both = Workforce(machines=Machines.launched(2))
attack_subject(student, Evaluation(split, threat, config), ("apgd-ce",), folder, workforce=both)
"""


def test_two_machines_share_the_shards_and_come_to_the_same(
    student: Classifier, digits: Dataset, threat, tmp_path: Path
):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir(), shared.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    (tmp_path / "half.py").write_text(HALF)
    arguments = [str(student.weights), str(shared)]
    both = [warm.Process(arguments, env={**there, "NODE_RANK": rank}, script=tmp_path / "half.py") for rank in "01"]
    evaluation = Evaluation(digits.test.take(slice(0, 30)), threat, CONFIG)
    attack_subject(TorchSubject("student", student), evaluation, ORDER, alone)
    assert [process.wait() for process in both] == [0, 0], [process.said()[1] for process in both]
    assert same(alone, shared)
    assert not (shared / "shards").exists()


def test_what_another_machine_left_undone_is_an_error(tmp_path: Path):
    class Half(Machines):
        def part(self, items):
            return items[::2]

    empty = Split(np.zeros((0, 1, 1, 1), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    done = ShardResult(empty, np.zeros(0, bool), {}, Candidates.none((1, 1, 1)), Counts())
    with pytest.raises(StageError, match=r"0001\.npz: another machine did not write it"):
        run_shards([lambda: done] * 2, tmp_path, Workforce(machines=Half()))


def test_what_is_left_when_a_worker_dies_is_done_carefully(student, digits, threat, tmp_path: Path):
    split = digits.test.take(slice(0, 30))
    subject, none = TorchSubject("student", student), Candidates.none((1, 8, 8))
    careful = [
        partial(attack_shard, subject, split.take(rows), threat, CONFIG, ORDER, none)
        for rows in np.array_split(np.arange(30), 3)
    ]
    expected = run_shards(careful, tmp_path / "expected", Workforce())
    seen: list[int] = []
    found = run_shards(
        [careful[0], os.abort, os.abort],
        tmp_path / "found",
        Workforce(2, lambda done, *_: seen.append(done)),
        careful=careful,
    )
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.robust, other.robust)
        assert np.array_equal(one.candidates.images, other.candidates.images)
    assert seen[-1] == 3
    with pytest.raises(StageError, match="a worker process died twice"):
        run_shards([os.abort, os.abort], tmp_path / "twice", Workforce(2))


def test_a_process_that_nobody_replaces_takes_no_risk(tmp_path: Path, student, digits, threat):
    job = partial(
        attack_shard,
        TorchSubject("student", student),
        digits.test.take(slice(0, 5)),
        threat,
        CONFIG,
        ORDER,
        Candidates.none((1, 8, 8)),
    )
    for workers in (1, 2):  # a single job runs here, whatever the number of workers
        (found,) = run_shards([os.abort], tmp_path / str(workers), Workforce(workers), careful=[job])
        assert len(found.split) == 5


def test_an_engine_in_a_process_of_its_own_ends_with_its_shard(int8_onnx: Path, digits: Dataset, threat):
    """By itself, and not when Python next looks for cycles: there are as many of them as shards."""
    engine = EngineSubject("engine", EngineFile.of("onnxruntime", int8_onnx), int8_onnx, ("relu",))
    split, none = digits.test.take(slice(0, 4)), Candidates.none(digits.image_shape)
    gc.collect()  # of what earlier tests left
    before = own_processes()
    gc.disable()
    try:
        attack_shard(engine, split, threat, CONFIG, ("square",), none)
        after = own_processes()
    finally:
        gc.enable()
    assert after <= before


def own_processes() -> set[str]:
    """The processes that serve a model to this one."""
    listed = ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "pid,args"]
    lines = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[0] for line in lines if "process.serving" in line}


def test_machines_that_do_not_meet_are_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "999999")
    with pytest.raises(StageError, match="--num-nodes 2: the machines did not meet: port must have value from 0 to"):
        Machines.launched(2)
