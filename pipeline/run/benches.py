"""Latency artifacts."""

from __future__ import annotations

from ...stages.latency.bench import bench, bench_ledger
from ..store.artifact import Artifact, Stage
from .artifacts import STAGES, Artifacts, network_inputs
from .attacks import Attacks
from .engines import Engines
from .networks import Networks

TIMING = ("torch", "onnxruntime")
_CODE = (f"{STAGES}.latency.bench",)


class Benches:
    """What is timed.

    Args:
        artifacts: makes artifacts.
        networks: teacher and student.
        engines: the engines.
        attacks: knows the ledger's subjects.
    """

    def __init__(self, artifacts: Artifacts, networks: Networks, engines: Engines, attacks: Attacks) -> None:
        self._artifacts = artifacts
        self._networks = networks
        self._engines = engines
        self._attacks = attacks

    def engine(self, target: str) -> Artifact:
        """A target's latencies beside the float engine and torch eager."""
        engine, floating, student = self._engines.engine(target), self._engines.float_engine(), self._networks.final()
        return self._artifacts.make(
            Stage(
                f"bench/{target}",
                config={"bench": self._artifacts.recipe.bench},
                inputs={"engine": engine.key, "float": floating.key, **network_inputs("student", student)},
                code=_CODE,
                packages=TIMING,
                parents=[engine, floating, student],
            ),
            lambda folder, _: bench(
                self._artifacts.engine_file(engine),
                self._artifacts.dataset.test.images,
                self._artifacts.recipe.bench,
                folder,
                float_engine=self._artifacts.engine_file(floating),
                eager=self._artifacts.classifier(student),
            ),
        )

    def ledger(self) -> Artifact:
        """The sizes of all subjects of the ledger, and their latencies beside each other."""
        networks = self._attacks.networks()
        engines = {name: engine for name, (engine, _) in self._attacks.engines().items()}
        inputs = {name: engine.key for name, engine in engines.items()}
        for name, network in networks.items():
            inputs |= network_inputs(name, network)
        return self._artifacts.make(
            Stage(
                "bench/ledger",
                config={"bench": self._artifacts.recipe.bench},
                inputs=inputs,
                code=_CODE,
                packages=TIMING,
                parents=[*networks.values(), *engines.values()],
            ),
            lambda folder, _: bench_ledger(
                {name: self._artifacts.classifier(network) for name, network in networks.items()},
                {name: self._artifacts.engine_file(engine) for name, engine in engines.items()},
                self._artifacts.dataset.test.images,
                self._artifacts.recipe.bench,
                folder,
            ),
        )

    def all(self) -> list[Artifact]:
        """Everything that the report shows."""
        return [self.ledger(), *(self.engine(target) for target in self._engines.available)]
