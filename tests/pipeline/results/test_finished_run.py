"""A run is what it found: forged figures, gates, engines and bits, files that a byte is flipped in, runs cut short."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeproof.core import atomic_write
from edgeproof.core.errors import UsageError
from edgeproof.core.model_file import sha256_of
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.card.make_card import model_card
from edgeproof.pipeline.commands.compare import compare
from edgeproof.pipeline.commands.gate import gate
from edgeproof.pipeline.evidence.in_toto import result_of
from edgeproof.pipeline.results.finished_run import finished_report
from edgeproof.pipeline.store.manifest import amend, finished_files, supersede
from edgeproof.stages.verify.config import VerifyConfig
from edgeproof.stages.verify.effort import STANDARD, weaker

from tests.finished_run import bits, finished

GATES = [{"name": "robust_accuracy", "limit": ">= 0.75"}, {"name": "retention", "limit": ">= 0.5"}]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 200 samples whose engine keeps 0.8 of them, below what its gates allow it to lose."""
    folder = finished(
        tmp_path / "run", {"onnxruntime": bits(200, range(40))}, student=bits(200, range(20)), gates=GATES
    )
    (folder / "engines").mkdir()
    engine = folder / "engines" / "model.engine"
    engine.write_bytes(b"engine")

    def bind(data: dict[str, Any]) -> None:
        data["subjects"][-1] |= {"path": "engines/model.engine", "sha256": sha256_of(engine)}

    rewrite(folder, bind)
    return folder


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the report, and list every file as it is then: only what belongs together can tell."""
    data = json.loads((folder / "report.json").read_text())
    change(data)
    (folder / "report.json").write_text(json.dumps(data))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json"]
    entries = [{"path": str(path.relative_to(folder)), "sha256": sha256_of(path)} for path in files]
    manifest = {"schema_version": 1, "request": "asked", "external": {}, "artifacts": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def engine_says(**more: Any) -> Callable[[dict[str, Any]], object]:
    return lambda data: data["subjects"][-1].update(more)


FORGED = {
    "robust accuracy": (engine_says(robust_accuracy=0.99), r"its robust_accuracy is 0.8, the report says 0.99"),
    "clean accuracy": (engine_says(clean_accuracy=0.5), "its clean_accuracy is 1, the report says 0.5"),
    "interval": (engine_says(robust_accuracy_ci=[0.79, 0.81]), "its robust_accuracy_ci is"),
    "no interval": (engine_says(robust_accuracy_ci=None), "its robust_accuracy_ci is"),
    "retention": (engine_says(retention=1.0), "its retention is 0.8889, the report says 1"),
    "infinite": (engine_says(robust_accuracy=float("inf")), "Infinity is no number of JSON"),
    "samples": (engine_says(samples=3), "its samples is 200, the report says 3"),
    "routes": (engine_says(routes={"replay": 1.0}), "its routes is"),
    "engine": (engine_says(sha256="0" * 64), "not the engine that the report is about"),
    "verdict": (lambda data: data.update(verdict="inconclusive"), "its verdict is inconclusive, judged again pass"),
    "twice": (lambda data: data["subjects"].append(data["subjects"][-1]), "has more than one subject 'onnxruntime'"),
    "gate": (lambda data: data["gates"][0].update(limit=">= 0.9", outcome="pass"), "its gate robust_accuracy is pass"),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_the_bits_do_not_give_is_refused_by_every_command(name: str, run: Path):
    change, words = FORGED[name]
    assert gate(run).report.exit_code == 0
    rewrite(run, change)
    for command in (gate, finished_report, model_card, make_bundle):
        with pytest.raises(UsageError, match=words):
            command(run)


def test_bits_that_give_back_a_sample_are_none(run: Path):
    path = run / "verification" / "onnxruntime.npz"
    columns = dict(np.load(path))
    columns["whitebox"] = columns["square"] & False
    np.savez_compressed(path, **columns)
    rewrite(run, lambda _: None)
    with pytest.raises(UsageError, match="its column square has samples that whitebox has not"):
        gate(run)


def test_a_flipped_byte_anywhere_is_named(run: Path):
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.name != "manifest.json"]
    assert len(files) == 4
    for path in files:
        content = path.read_bytes()
        flipped = bytearray(content)
        flipped[len(flipped) // 2] ^= 1
        path.write_bytes(flipped)
        for command in (gate, finished_report, model_card, make_bundle, lambda run: compare(run, run)):
            # A report may no longer be JSON; the file is named all the same.
            with pytest.raises(UsageError, match=str(path)):
                command(run)
        path.write_bytes(content)
    assert gate(run).report.exit_code == 0


def test_another_request_takes_the_report_away_until_it_is_published(run: Path):
    assert finished_files(run, "asked")
    supersede(run, "asked")
    assert gate(run).report.exit_code == 0, "the same request goes on"
    supersede(run, "another")
    assert finished_files(run, "asked") is None
    for command in (gate, finished_report, model_card, make_bundle, lambda run: compare(run, run)):
        with pytest.raises(UsageError, match=r"report.json: is of an earlier request"):
            command(run)


def test_a_report_apart_from_its_run_says_nothing(run: Path, tmp_path: Path):
    (tmp_path / "report.json").write_bytes((run / "report.json").read_bytes())
    with pytest.raises(UsageError, match=r"onnxruntime.npz: no such file; it lies in the run's folder"):
        gate(tmp_path / "report.json")


class Killed(BaseException):
    """Nothing of the process's own runs after this but what `finally` says."""


@pytest.mark.parametrize("step", range(6))
def test_an_amended_run_is_whole_whenever_the_process_dies(run: Path, step: int, monkeypatch: pytest.MonkeyPatch):
    """Four files take their places: the listing of both, two texts, the listing of the new ones."""
    rewrite(run, lambda _: (run / "summary.md").write_text("before"))
    report = (run / "report.json").read_text()
    real, count = Path.replace, iter(range(100))

    def replace(self: Path, target: Path) -> Path:
        if next(count) == step:
            raise Killed
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    try:
        amend(run, {"summary.md": "after", "devices/one.json": "{}", "report.json": report + "\n"})
    except Killed:
        assert step < 5
    else:
        assert step == 5
    monkeypatch.setattr(Path, "replace", real)
    assert gate(run).report.exit_code == 0
    amend(run, {"summary.md": "after", "devices/one.json": "{}", "report.json": report + "\n"})
    assert gate(run).report.exit_code == 0
    assert (run / "summary.md").read_text() == "after"
    (run / "summary.md").write_text("before")
    with pytest.raises(UsageError, match="altered"):
        gate(run)


@pytest.mark.parametrize("write", range(4))
def test_a_full_disk_changes_nothing(run: Path, write: int, monkeypatch: pytest.MonkeyPatch):
    rewrite(run, lambda _: (run / "summary.md").write_text("before"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    real, count = Path.write_bytes, iter(range(100))

    def full(self: Path, content: bytes) -> int:
        if next(count) == write:
            real(self, content[:3])
            raise OSError(28, os.strerror(28), str(self))
        return real(self, content)

    monkeypatch.setattr(atomic_write.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        amend(run, {"summary.md": "after", "report.json": "{}"})
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


BOUND = {"norm": "Linf", "eps": "0.1", "dataset": "digits", "samples": "200"}
OTHERS = {"norm": "L2", "eps": "8/255", "dataset": "mnist", "samples": "201"}


@pytest.mark.parametrize("key", BOUND)
def test_gates_bind_what_the_run_must_have_been(key: str, run: Path):
    bound = gate(run, bound_to=[f"{name}={value}" for name, value in BOUND.items()]).report
    assert bound.exit_code == 0
    assert [entry["name"] for entry in bound.data["gates"]][:4] == [f"bound_to.{name}" for name in BOUND]
    judged = gate(run, bound_to=[f"{key}={OTHERS[key]}"]).report
    assert judged.exit_code == 1
    (reason,) = judged.data["reasons"]
    assert reason.startswith(f"bound_to.{key}: ")


def test_a_weaker_attack_fails_gates_that_are_bound_to_the_standard_one(run: Path):
    def attacked(**settings: Any) -> Callable[[dict[str, Any]], object]:
        return lambda data: data.update(verify={**VerifyConfig().of_attacks(), **settings})

    rewrite(run, attacked())
    assert gate(run, bound_to=["effort=standard"]).report.exit_code == 0
    weak = {"routes": ["square"], "square_queries": 4999, "backward": ["relu"], "strong_restarts": 0}
    for key, value in weak.items():
        rewrite(run, attacked(**{key: value}))
        judged = gate(run, bound_to=["effort=standard"]).report
        assert (judged.exit_code, f"verify.{key} is" in judged.data["reasons"][0]) == (1, True)
    rewrite(run, attacked(square_queries=9000, routes=[*STANDARD["routes"], "hop-skip-jump"]))
    assert gate(run, bound_to=["effort=standard"]).report.exit_code == 0
    assert not list(weaker(VerifyConfig().of_attacks())), "the defaults are the standard"


def test_a_run_without_gates_that_was_called_a_pass_is_read_as_measured(run: Path):
    """So that nobody gets a pass by the version that a report gives itself."""
    rewrite(run, lambda data: data.update(gates=[], schema_version=2))
    report = finished_report(run)
    assert (report.data["verdict"], result_of(report), report.exit_code) == ("measured", "WARNED", 0)
    rewrite(run, lambda data: data.update(schema_version=3))
    with pytest.raises(UsageError, match="its verdict is pass, judged again measured"):
        finished_report(run)


def test_the_gates_of_another_branch(run: Path, tmp_path: Path):
    """A merge request that asks for less is judged by what its target asks for."""
    rewrite(run, lambda data: data.update(bound_to={"samples": 10}, gates=[], verdict="measured"))
    theirs = tmp_path / "theirs.yaml"
    theirs.write_text('gates: {bound_to: {eps: 0.1, samples: 100}, robust_accuracy: ">= 0.81"}')
    judged = gate(run, recipe=theirs).report
    assert judged.exit_code == 1
    assert [(entry["name"], entry["outcome"]) for entry in judged.data["gates"]] == [
        ("bound_to.eps", "pass"),
        ("bound_to.samples", "pass"),
        ("robust_accuracy", "fail"),
    ]
    theirs.write_text('gates: {bound_to: {eps: 0.2}, robust_accuracy: ">= 0.75"}')
    (reason,) = gate(run, recipe=theirs).report.data["reasons"]
    assert reason == "bound_to.eps: the run's eps is 0.1; the gates are bound to 0.2"


def test_a_baseline_keeps_what_its_gates_were_bound_to(run: Path, tmp_path: Path):
    baseline = tmp_path / "baseline.json"
    assert gate(run, baseline=baseline, update_baseline=True, bound_to=["samples=150"]).written
    assert json.loads(baseline.read_text())["bound_to"] == {"samples": 150}
    fewer = finished(tmp_path / "fewer", {"onnxruntime": bits(120)})
    judged = gate(fewer, baseline=baseline).report
    assert (
        "bound_to.samples: onnxruntime was attacked on 120 samples; the gates are bound to 150"
        in judged.data["reasons"]
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("eps", "--for 'eps': must be of the form KEY=VALUE (norm, eps, dataset, samples, effort)"),
        ("epsilon=1", "--for epsilon: unknown key; did you mean 'eps'?"),
        ("eps=big", "--for eps: must be a number or a fraction such as 8/255, got 'big'"),
        ("samples=0", "--for samples: must be at least 1, got '0'"),
        ("effort=none", "--for effort: must be 'standard', got 'none'"),
    ],
)
def test_bindings_that_are_wrong(run: Path, said: str, words: str):
    with pytest.raises(UsageError) as refused:
        gate(run, bound_to=[said])
    assert str(refused.value).startswith(words)


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        ("{}", "theirs.yaml: has no gates"),
        ("{robust_accuracy: 0.5}", "theirs.yaml: gates: robust_accuracy: a limit is a comparison"),
        ("{robust: '>= 0.5'}", "theirs.yaml: gates: unknown figure 'robust'"),
        ("{bound_to: [1]}", "theirs.yaml: gates.bound_to: must be a mapping"),
    ],
)
def test_gates_of_another_branch_that_are_none(run: Path, tmp_path: Path, gates: str, words: str):
    (tmp_path / "theirs.yaml").write_text(f"gates: {gates}\n")
    with pytest.raises(UsageError, match=words):
        gate(run, recipe=tmp_path / "theirs.yaml")
