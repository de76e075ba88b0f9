"""Attack artifacts: on teacher, student and engines, and what they come to."""

from __future__ import annotations

from functools import cached_property

from ...core.errors import UsageError
from ...stages.data import Split
from ...stages.export import MODEL
from ...stages.verify import EngineSubject, Evaluation, Subject, TorchSubject, Workforce, default_workers, sample
from ...stages.verify.earlier_packs import read_earlier
from ..store.artifact import Artifact
from .artifacts import Artifacts
from .engines import Engines
from .networks import Networks
from .proof import Proof

# What the name of an engine as it was before `recover` ends with.
BEFORE = "-ptq"


class Attacks:
    """What is attacked, and what was found.

    Args:
        artifacts: makes artifacts.
        networks: teacher and student.
        engines: the engines.
        workers: processes that attack; one a core when None.

    Attributes:
        workers: how many attack.
    """

    def __init__(self, artifacts: Artifacts, networks: Networks, engines: Engines, workers: int | None = None) -> None:
        self._artifacts = artifacts
        self._networks = networks
        self._engines = engines
        self.workers = workers or default_workers()

    @cached_property
    def samples(self) -> Split:
        """The test samples that are attacked."""
        test = self._artifacts.dataset.test
        try:
            return sample(test, self._artifacts.recipe.verify)
        except UsageError as error:
            raise UsageError(f"verify.{error}") from None

    @cached_property
    def _proof(self) -> Proof:
        """How they are attacked."""
        recipe, dataset = self._artifacts.recipe, self._artifacts.dataset
        try:
            found = read_earlier(recipe.verify.packs, dataset.test, recipe.threat)
        except UsageError as error:
            raise UsageError(f"verify.packs: {error}") from None
        evaluation = Evaluation(self.samples, recipe.threat, recipe.verify, earlier=found.of(self.samples.index))
        proof = Proof(self._artifacts.maker, dataset, evaluation, Workforce(self.workers))
        self._artifacts.weights |= {str(pack.resolve()): digest for pack, digest in proof.packs.items()}
        return proof

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
        if found := self._artifacts.made.get(f"attack/{name}"):
            return found
        subject = self.subjects()[name]
        if isinstance(subject, EngineSubject):
            source, _ = self.engines()[name]
            return self._proof.attacked(subject, before=[self.attacked("student")], source=source)
        return self._proof.attacked(subject, source=self.networks()[name])

    def aggregated(self) -> Artifact:
        """The figures of all subjects, after each has faced everybody's candidates."""
        subjects = self.subjects()
        found = {name: self.attacked(name) for name in subjects}
        curve_of = [name for name in subjects if name != "teacher"]
        return self._proof.aggregated(subjects, found, curve_of=curve_of, student="student")
