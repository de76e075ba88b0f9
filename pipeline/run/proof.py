"""Attack and aggregate artifacts: the one way to attack subjects and to draw up their figures, of every command.

What an attack is stored under depends on what is attacked, with what and how, and not on who asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from ...core.model_file import digest_of, sha256_of
from ...stages.data import Dataset
from ...stages.models import package_behind
from ...stages.verify import (
    Attacked,
    EngineSubject,
    Evaluation,
    FunctionSubject,
    ModuleSubject,
    Subject,
    TorchSubject,
    Workforce,
    attack_subject,
)
from ...stages.verify.aggregate import Ledger, aggregate
from ...stages.verify.attack import CANDIDATES
from ...stages.verify.checks.base import Finding
from ...stages.verify.checks.base import modules as check_modules
from ...stages.verify.earlier_packs import described
from ...stages.verify.evidence.candidates import Candidates
from ...stages.verify.routes.base import routes
from ...targets.base import targets
from ..progress import Bar
from ..store.artifact import Artifact, Stage
from .maker import Maker
from .plugin_code import model_code, module_of

AGGREGATE = "settle"
_ATTACK_CODE, _AGGREGATE_CODE = "edgeproof.stages.verify.attack", "edgeproof.stages.verify.aggregate"
_ATTACKING = ("torch", "onnx", "onnxruntime", "pyautoattack", "numpy")
_AGGREGATING = (*_ATTACKING, "scipy", "pillow")
_REPLAY = "replay"
_FINDINGS = "findings.json"


@dataclass(frozen=True)
class Proof:
    """A verification whose attacks and figures are artifacts.

    Attributes:
        maker: makes them.
        dataset: whose test split the samples are of.
        evaluation: on which samples, in which ball, and how hard.
        workforce: who attacks.
    """

    maker: Maker
    dataset: Dataset
    evaluation: Evaluation
    workforce: Workforce

    @cached_property
    def packs(self) -> dict[Path, str]:
        """The earlier runs' packs, and their digests."""
        return {pack: sha256_of(pack) for pack in self.evaluation.config.packs}

    def attacked(
        self,
        subject: Subject,
        *,
        before: Sequence[Artifact] = (),
        source: Artifact | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Artifact:
        """The attacks on one subject.

        A torch network faces AutoAttack alone; what is found on others meets it in the end. An engine or a function is
        first shown what was found before.

        Args:
            subject: what is attacked.
            before: attacks on other subjects, whose candidates it is shown.
            source: the artifact that the subject is of, where it is one.
            inputs: digests of what its files do not tell.
        """
        evaluation = self.evaluation
        threat, config, stop = evaluation.threat, evaluation.config, evaluation.stop
        facing = not isinstance(subject, TorchSubject)
        earlier = evaluation.earlier if facing else None
        order = config.routes if facing else config.attacks
        if facing and not before and not earlier:
            order = tuple(route for route in order if route != _REPLAY)
        about = _Described.of(subject)
        pool = {f"pool {number}": artifact.sha256(CANDIDATES) for number, artifact in enumerate(before)}

        def work(folder: Path, bar: Bar) -> None:
            found = [Attacked.load(artifact.folder).candidates for artifact in before]
            everything = [*found, *([] if earlier is None else [earlier])]
            progress = bar.shards if stop is None else partial(bar.shards_until, stop)
            attack_subject(
                subject,
                evaluation,
                order,
                folder,
                pool=Candidates.join(everything, self.dataset.image_shape),
                workforce=replace(self.workforce, progress=progress),
            )

        stage = Stage(
            f"attack/{subject.name}",
            config={
                "threat": threat.model_dump(mode="json"),
                "verify": config.of_attacks(),
                "order": list(order),
                **about.config,
                **({} if stop is None else {"stop": repr(stop)}),
            },
            inputs={
                "data": self.dataset.digest,
                **about.inputs,
                **(inputs or {}),
                **pool,
                **(self._pack_inputs() if facing else {}),
            },
            code=[
                _ATTACK_CODE,
                module_of(type(threat.geometry)),
                *check_modules(),
                *(module_of(type(routes[route])) for route in order),
                *about.code,
            ],
            packages=(*_ATTACKING, *about.packages),
            parents=[*([] if source is None else [source]), *before],
            seed=config.seed,
            resumable=True,
            shared=True,
        )
        return self.maker.make(stage, work)

    def examined(
        self,
        subject: Subject,
        look: Callable[[], Sequence[Finding]],
        *,
        code: Sequence[str],
        config: Mapping[str, object],
        inputs: Mapping[str, str],
    ) -> list[Finding]:
        """What a subject's answers to clean images speak against it.

        Args:
            subject: what is asked.
            look: asks it.
            code: the modules of `look`.
            config: what else it depends on, as JSON-able data.
            inputs: digests of what the subject's files do not tell.
        """
        about = _Described.of(subject)
        stage = Stage(
            f"clean/{subject.name}",
            config={**about.config, **config},
            inputs={"data": self.dataset.digest, **about.inputs, **inputs},
            code=[*code, *about.code],
            packages=(*_AGGREGATING, *about.packages),
        )

        def work(folder: Path, _: Bar) -> None:
            (folder / _FINDINGS).write_text(json.dumps([asdict(finding) for finding in look()]))

        made = self.maker.make(stage, work)
        return [Finding(**entry) for entry in json.loads(made.path(_FINDINGS).read_bytes())]

    def aggregated(
        self,
        subjects: Mapping[str, Subject],
        artifacts: Mapping[str, Artifact],
        *,
        curve_of: Sequence[str],
        student: str | None = None,
    ) -> Artifact:
        """The figures of all subjects, after each has faced everybody's candidates.

        Args:
            subjects: what was attacked, in the report's order.
            artifacts: the attacks on each.
            curve_of: the subjects that have a curve.
            student: the float student's name, where there is one.
        """
        evaluation, dataset = self.evaluation, self.dataset
        about = {
            "threat": evaluation.threat.model_dump(mode="json"),
            "dataset": {"name": dataset.name, "digest": dataset.digest},
            **described(evaluation.config.packs),
        }
        ledger = Ledger(subjects, student, curve_of, dataset.class_names, about)

        def work(folder: Path, _: Bar) -> None:
            attacked = {name: Attacked.load(artifacts[name].folder) for name in subjects}
            aggregate(ledger, attacked, evaluation, folder, self.workforce.workers)

        stage = Stage(
            AGGREGATE,
            config={
                "verify": evaluation.config.model_dump(mode="json", exclude={"packs"}),
                "about": about,
                "classes": list(dataset.class_names),
                "curve_of": list(curve_of),
                "student": student,
                **({} if evaluation.stop is None else {"stop": repr(evaluation.stop)}),
            },
            inputs={name: artifacts[name].key for name in subjects} | self._pack_inputs(),
            code=[_AGGREGATE_CODE, module_of(type(evaluation.threat.geometry))],
            packages=_AGGREGATING,
            parents=[artifacts[name] for name in subjects],
        )
        return self.maker.make(stage, work)

    def _pack_inputs(self) -> dict[str, str]:
        return {f"pack {number}": digest for number, digest in enumerate(self.packs.values())}


@dataclass(frozen=True)
class _Described:
    """What a subject is, as parts of a stage."""

    config: Mapping[str, object]
    inputs: Mapping[str, str]
    code: Sequence[str]
    packages: Sequence[str]

    @classmethod
    def of(cls, subject: Subject) -> _Described:
        if isinstance(subject, TorchSubject):
            network = subject.classifier
            files = {"weights": network.weights, "pruning": network.pruning}
            config: dict[str, object] = {"model": network.model}
            return cls(config, _digests(files), model_code([network.model]), package_behind(network.model))
        if isinstance(subject, EngineSubject):
            engine = subject.engine
            config = {"target": engine.target, **({"options": dict(engine.options)} if engine.options else {})}
            inputs = {"engine": engine.sha256, **_digests({"graph": subject.graph, "surrogate": subject.surrogate})}
            return cls(config, inputs, [module_of(type(targets[engine.target]))], ())
        files = {"surrogate": subject.surrogate} if isinstance(subject, FunctionSubject | ModuleSubject) else {}
        return cls({}, _digests(files), (), ())


def _digests(files: Mapping[str, Path | None]) -> dict[str, str]:
    return {name: digest_of(path) for name, path in files.items() if path is not None}
