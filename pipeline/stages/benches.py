"""Latencies and sizes as artifacts."""

from __future__ import annotations

from ...stages.bench import bench, bench_ledger
from ..store import Artifact
from .attacks import Attacks
from .engines import Engines
from .networks import Networks
from .workshop import STAGES, Workshop, network_inputs

TIMING = ("torch", "onnxruntime")
_CODE = (f"{STAGES}.bench",)


class Benches:
    """What is timed.

    Args:
        shop: makes artifacts.
        networks: teacher and student.
        engines: the engines.
        attacks: knows the ledger's subjects.
    """

    def __init__(self, shop: Workshop, networks: Networks, engines: Engines, attacks: Attacks) -> None:
        self._shop = shop
        self._networks = networks
        self._engines = engines
        self._attacks = attacks

    def engine(self, target: str) -> Artifact:
        """A target's latencies beside the float engine and torch eager."""
        engine, floating, student = self._engines.engine(target), self._engines.float_engine(), self._networks.final()
        return self._shop.make(
            f"bench/{target}",
            lambda folder, _: bench(
                self._shop.engine_file(engine),
                self._shop.dataset.test.images,
                self._shop.recipe.bench,
                folder,
                float_engine=self._shop.engine_file(floating),
                eager=self._shop.classifier(student),
            ),
            config={"bench": self._shop.recipe.bench},
            inputs={"engine": engine.key, "float": floating.key, **network_inputs("student", student)},
            code=_CODE,
            packages=TIMING,
            parents=[engine, floating, student],
        )

    def ledger(self) -> Artifact:
        """The sizes of all subjects of the ledger, and their latencies beside each other."""
        networks = self._attacks.networks()
        engines = {name: engine for name, (engine, _) in self._attacks.engines().items()}
        inputs = {name: engine.key for name, engine in engines.items()}
        for name, network in networks.items():
            inputs |= network_inputs(name, network)
        return self._shop.make(
            "bench/ledger",
            lambda folder, _: bench_ledger(
                {name: self._shop.classifier(network) for name, network in networks.items()},
                {name: self._shop.engine_file(engine) for name, engine in engines.items()},
                self._shop.dataset.test.images,
                self._shop.recipe.bench,
                folder,
            ),
            config={"bench": self._shop.recipe.bench},
            inputs=inputs,
            code=_CODE,
            packages=TIMING,
            parents=[*networks.values(), *engines.values()],
        )

    def all(self) -> list[Artifact]:
        """Everything that the report shows."""
        return [self.ledger(), *(self.engine(target) for target in self._engines.available)]
