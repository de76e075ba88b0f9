"""What an attack is stored under: what is attacked and how, and nothing else, whichever command asks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from edgeproof.pipeline.progress import Reporter
from edgeproof.pipeline.run.maker import Maker
from edgeproof.pipeline.run.proof import Proof
from edgeproof.pipeline.store.artifact import Artifact, Stage, key_of
from edgeproof.pipeline.store.store import Store
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import (
    CorruptionsConfig,
    EngineSubject,
    Evaluation,
    FunctionSubject,
    Subject,
    TorchSubject,
    VerifyConfig,
    Workforce,
    sample,
)
from edgeproof.stages.verify.attack import CANDIDATES
from edgeproof.stages.verify.checks.base import Finding
from edgeproof.stages.verify.shards.sequential import Sequential
from edgeproof.targets.base import EngineFile


class Asked:
    """A store that makes nothing, and keeps what was asked for."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def make(self, stage: Stage, _: Callable[[Path], object]) -> Artifact:
        self.stages.append(stage)
        return Artifact(stage.name, key_of(stage.identity()), Path(stage.name), {"files": {CANDIDATES: "found"}})


def proof(data: Dataset, config: VerifyConfig | None = None, workers: int = 1, **more: Any) -> Proof:
    config = config or VerifyConfig(samples=5)
    threat = more.pop("threat", ThreatModel(norm="Linf", eps=0.1))
    evaluation = Evaluation(sample(data.test, config), threat, config, **more)
    maker = Maker(cast(Store, Asked()), Reporter(quiet=True))
    return Proof(maker, data, evaluation, Workforce(workers))


def engine(path: Path, name: str = "onnxruntime", **more: Any) -> EngineSubject:
    return EngineSubject(name, EngineFile.of("onnxruntime", path), more.pop("graph", path), ("relu",), **more)


@pytest.fixture
def pool() -> Artifact:
    return Artifact("attack/student", "key", Path(), {"files": {CANDIDATES: "of the student"}})


def test_where_files_lie_and_what_is_measured_besides_do_not_matter(
    digits: Dataset, int8_onnx: Path, float_onnx: Path, tmp_path: Path, pool: Artifact
):
    one = proof(digits).attacked(engine(int8_onnx, surrogate=float_onnx), before=[pool], source=pool)
    shutil.copy(int8_onnx, tmp_path / "engine.onnx")
    shutil.copy(float_onnx, tmp_path / "other.onnx")
    more = VerifyConfig(samples=5, curve=None, corruptions=CorruptionsConfig())
    elsewhere = engine(tmp_path / "engine.onnx", surrogate=tmp_path / "other.onnx")
    same = Artifact("attack/elsewhere", "other key", tmp_path, pool.record)
    assert proof(digits, more, workers=2).attacked(elsewhere, before=[same]).key == one.key


@pytest.mark.parametrize(
    "change",
    [
        {"config": VerifyConfig(samples=6)},
        {"config": VerifyConfig(samples=5, seed=1)},
        {"config": VerifyConfig(samples=5, square_queries=10)},
        {"config": VerifyConfig(samples=5, routes=("whitebox",))},
        {"threat": ThreatModel(norm="Linf", eps=0.2)},
        {"stop": Sequential((), 500)},
        {"engine": "float"},
        {"graph": "float"},
        {"surrogate": None},
        {"options": {"threads": 2}},
        {"before": []},
        {"pool": "another"},
    ],
    ids=str,
)
def test_all_that_is_attacked_and_with_what_does(
    digits: Dataset, int8_onnx: Path, float_onnx: Path, pool: Artifact, change: dict[str, Any]
):
    def key(change: dict[str, Any]) -> str:
        of_engine = {name: change[name] for name in ("config", "threat", "stop") if name in change}
        subject = engine(
            float_onnx if "engine" in change else int8_onnx,
            graph=float_onnx if "graph" in change else int8_onnx,
            surrogate=change.get("surrogate", float_onnx),
        )
        subject = replace(subject, engine=replace(subject.engine, options=change.get("options", {})))
        found = replace(pool, record={"files": {CANDIDATES: change.get("pool", "of the student")}})
        return proof(digits, **of_engine).attacked(subject, before=change.get("before", [found])).key

    assert key(change) != key({})


def order(found: Proof, subject: Subject, *before: Artifact) -> list[str]:
    found.attacked(subject, before=before)
    return cast(Asked, found.maker.store).stages[-1].config["order"]


def test_who_is_shown_what_was_found_before(digits: Dataset, student: Classifier, int8_onnx: Path, pool: Artifact):
    found, config = proof(digits), VerifyConfig()
    network, function = TorchSubject("student", student), FunctionSubject("function", "mine:answer", (1, 8, 8), 10)
    assert order(found, network) == list(config.attacks)
    assert order(found, engine(int8_onnx), pool) == list(config.routes)
    for subject in (engine(int8_onnx), function):
        assert order(found, subject) == [route for route in config.routes if route != "replay"], "nothing to replay"


def test_a_function_is_told_from_another_by_its_answers(digits: Dataset):
    subject = FunctionSubject("function", "mine:answer", (1, 8, 8), 10)
    one, other = (proof(digits).attacked(subject, inputs={"function": digest}).key for digest in ("one", "other"))
    assert one != other


def test_the_figures_follow_from_the_attacks_and_from_what_is_measured(digits: Dataset, int8_onnx: Path):
    subjects = {"onnxruntime": engine(int8_onnx)}

    def key(config: VerifyConfig, attack: str = "attack", curve_of: tuple[str, ...] = ("onnxruntime",)) -> str:
        attacks = {"onnxruntime": Artifact("attack/onnxruntime", attack, Path(), {"files": {}})}
        return proof(digits, config).aggregated(subjects, attacks, curve_of=curve_of).key

    plain = VerifyConfig(samples=5)
    keys = [
        key(plain),
        key(plain, "another attack"),
        key(plain, curve_of=()),
        key(VerifyConfig(samples=5, curve=None)),
        key(VerifyConfig(samples=5, corruptions=CorruptionsConfig())),
    ]
    assert len(set(keys)) == len(keys)
    assert key(plain) == keys[0]


def test_clean_answers_are_asked_for_once(digits: Dataset, int8_onnx: Path, float_onnx: Path, tmp_path: Path):
    asked: list[str] = []
    finding = Finding("guesses", "it guesses", inconclusive=True)

    def examined(path: Path, **config: object) -> list[Finding]:
        evaluation = proof(digits).evaluation
        maker = Maker(Store(tmp_path / "run", print), Reporter(quiet=True))
        return Proof(maker, digits, evaluation, Workforce(1)).examined(
            engine(path),
            lambda: asked.append(path.name) or [finding],
            code=["edgeproof.pipeline.request.clean_answers"],
            config=config,
            inputs={},
        )

    assert [examined(int8_onnx) for _ in range(2)] == [[finding]] * 2
    assert asked == [int8_onnx.name]
    examined(float_onnx)
    examined(int8_onnx, adapter="another")
    assert asked == [int8_onnx.name, float_onnx.name, int8_onnx.name]
