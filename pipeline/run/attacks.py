"""The attacks of a run as artifacts: on teacher, student and engines, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ...core.errors import UsageError
from ...core.model_file import sha256_of
from ...stages.data import Split
from ...stages.export import MODEL
from ...stages.verify import (
    Attacked,
    EngineSubject,
    Subject,
    TorchSubject,
    attack_subject,
    default_workers,
    sample,
)
from ...stages.verify.aggregate import aggregate
from ...stages.verify.attack import CANDIDATES
from ...stages.verify.checks.base import modules as check_modules
from ...stages.verify.evidence.candidates import Candidates
from ...stages.verify.evidence.earlier_packs import described, read_earlier
from ...stages.verify.routes.base import routes
from ...targets.base import targets
from ..progress import Bar
from ..store.store import Artifact
from .artifacts import STAGES, Artifacts, module_of, network_inputs
from .engines import Engines
from .networks import Networks

# What the name of an engine as it was before `recover` ends with.
BEFORE = "-ptq"
ATTACKING = ("torch", "onnx", "onnxruntime", "pyautoattack", "numpy")
SETTLING = (*ATTACKING, "scipy", "pillow")


class Attacks:
    """What is attacked, and what was found.

    Args:
        artifacts: makes artifacts.
        networks: teacher and student.
        engines: the engines.
        workers: processes that attack; one a core when None.
    """

    def __init__(self, artifacts: Artifacts, networks: Networks, engines: Engines, workers: int | None = None) -> None:
        self._artifacts = artifacts
        self._networks = networks
        self._engines = engines
        self._workers = workers or default_workers()

    @cached_property
    def samples(self) -> Split:
        """The test samples that are attacked."""
        test = self._artifacts.dataset.test
        try:
            return sample(test, self._artifacts.recipe.verify)
        except UsageError as error:
            raise UsageError(f"verify.{error}") from None

    @cached_property
    def earlier(self) -> Candidates:
        """What earlier runs found, of the samples that are attacked here."""
        recipe = self._artifacts.recipe
        try:
            found = read_earlier(recipe.verify.packs, self._artifacts.dataset.test, recipe.threat)
        except UsageError as error:
            raise UsageError(f"verify.packs: {error}") from None
        return found.of(self.samples.index)

    def _packs(self) -> dict[str, str]:
        """The digests of the earlier runs' packs, as inputs of a stage."""
        digests = {pack: sha256_of(pack) for pack in self._artifacts.recipe.verify.packs}
        self._artifacts.weights |= {str(pack.resolve()): digest for pack, digest in digests.items()}
        return {f"pack {number}": digest for number, digest in enumerate(digests.values())}

    def subjects(self) -> dict[str, Subject]:
        """What is attacked, in ledger order: teacher, student, what pruning left of it, every engine."""
        found: dict[str, Subject] = {
            name: TorchSubject(name, self._artifacts.classifier(artifact)) for name, artifact in self.networks().items()
        }
        for name, (engine, graph) in self.engines().items():
            floating = self._engines.exported().path(MODEL)
            found[name] = EngineSubject(
                name,
                self._artifacts.engine_file(engine),
                graph.path(MODEL),
                self._artifacts.recipe.verify.backward,
                floating,
                self._artifacts.recipe.verify.isolate,
            )
        return found

    def networks(self) -> dict[str, Artifact]:
        """The torch networks that are attacked, in ledger order."""
        pruned = self._networks.pruned()
        found = {"teacher": self._networks.teacher(), "student": self._networks.student()}
        return found if pruned is None else {**found, "pruned": pruned}

    def engines(self) -> dict[str, tuple[Artifact, Artifact]]:
        """The engines that are attacked, and the graph of each one's twin: before `recover`, and what ships."""
        found: dict[str, tuple[Artifact, Artifact]] = {}
        for target in self._engines.available:
            if self._artifacts.recipe.recover is not None:
                found[target + BEFORE] = self._engines.engine_before(target), self._engines.quantized(target)
            found[target] = self._engines.engine(target), self._engines.shipped(target)
        return found

    def attacked(self, name: str) -> Artifact:
        """The attacks on one subject; engines first face what was found on the student."""
        verify = self._artifacts.recipe.verify
        subject = self.subjects()[name]
        order: Sequence[str] = verify.attacks
        code = [f"{STAGES}.verify.attack"]
        inputs = {"data": self._artifacts.dataset.digest}
        student: Artifact | None = None
        options: dict[str, object] = {}
        earlier = Candidates.none(self._artifacts.dataset.image_shape)
        if isinstance(subject, EngineSubject):
            earlier = self.earlier
            inputs |= self._packs()
            options = dict(subject.engine.options)
            source, graph = self.engines()[name]
            order, student = verify.routes, self.attacked("student")
            inputs |= {
                "engine": subject.engine.sha256,
                "graph": graph.sha256(MODEL),
                "surrogate": self._engines.exported().sha256(MODEL),
                "pool": student.sha256(CANDIDATES),
            }
            code.append(module_of(type(targets[subject.engine.target])))
        else:
            source = self.networks()[name]
            inputs |= network_inputs("weights", source)

        def work(folder: Path, bar: Bar) -> None:
            attack_subject(
                subject,
                self.samples,
                self._artifacts.recipe.threat,
                verify,
                order,
                folder,
                pool=Candidates.join(
                    [*([Attacked.load(student.folder).candidates] if student else []), earlier],
                    self._artifacts.dataset.image_shape,
                ),
                workers=self._workers,
                progress=bar.shards,
            )

        return self._artifacts.make(
            f"attack/{name}",
            work,
            config={
                "threat": self._artifacts.recipe.threat,
                "verify": verify.of_attacks(),
                "order": list(order),
                **({"options": options} if options else {}),
            },
            inputs=inputs,
            code=[*code, *check_modules(), *(module_of(type(routes[route])) for route in order)],
            packages=ATTACKING,
            parents=[source, *([student] if student else [])],
            seed=verify.seed,
            resumable=True,
        )

    def settled(self) -> Artifact:
        """The figures of all subjects, after each has faced everybody's candidates."""
        subjects = self.subjects()
        found = {name: self.attacked(name) for name in subjects}
        dataset = self._artifacts.dataset
        about = {
            "threat": self._artifacts.recipe.threat.model_dump(mode="json"),
            "dataset": {"name": dataset.name, "digest": dataset.digest},
            **described(self._artifacts.recipe.verify.packs),
        }
        return self._artifacts.make(
            "settle",
            lambda folder, _: aggregate(
                {name: Attacked.load(artifact.folder) for name, artifact in found.items()},
                subjects,
                self.samples,
                folder,
                student="student",
                about=about,
                config=self._artifacts.recipe.verify,
                threat=self._artifacts.recipe.threat,
                curve_of=[name for name in subjects if name != "teacher"],
                classes=dataset.class_names,
                workers=self._workers,
                earlier=self.earlier,
            ),
            config={"verify": self._artifacts.recipe.verify, "about": about},
            inputs={name: artifact.key for name, artifact in found.items()} | self._packs(),
            code=[f"{STAGES}.verify.aggregate"],
            packages=SETTLING,
            parents=list(found.values()),
        )
