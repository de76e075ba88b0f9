"""What all stages of a run share: the recipe, its data, the store, and how an artifact is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ...core.config import Config
from ...stages.checkpoint import WEIGHTS, read_weights
from ...stages.classifier import Classifier
from ...stages.data import Dataset, datasets, load_dataset
from ...stages.distill import TrainingContext
from ...stages.models import models, package_behind
from ...stages.prune import PRUNING
from ...stages.teacher import teacher_model
from ...targets.base import EngineFile
from ..progress import Bar, Reporter
from ..recipe.recipe import Recipe
from ..store.store import Artifact, Store, fingerprint
from ..store.user_code import function_modules

STAGES = "edgeproof.stages"
# Only of use to other stages, so not shown in the run's folder.
HIDDEN = ("attack/", "float-engine", "ptq-engine/")


class Artifacts:
    """Makes artifacts, each once, and remembers them for the run.

    Args:
        recipe: the validated recipe.
        store: where artifacts live.
        reporter: where progress goes.
        running: on what trainings run.

    Attributes:
        made: the run's artifacts by stage.
        weights: weight files outside the run's folder that were read, and their digests.
    """

    def __init__(self, recipe: Recipe, store: Store, reporter: Reporter, running: TrainingContext) -> None:
        self.recipe = recipe
        self.store = store
        self.reporter = reporter
        self.made: dict[str, Artifact] = {}
        self.weights: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._running = running

    @cached_property
    def dataset(self) -> Dataset:
        """The data set in its three splits."""
        with self.reporter.stage("data"):
            found = load_dataset(self.recipe.data)
        # As it was read: it may change before the run is published.
        self._sources = {str(source.resolve()): fingerprint(source) for source in found.sources}
        return found

    @cached_property
    def _models(self) -> tuple[str, ...]:
        """The models that the recipe names, or its teacher's checkpoint does: no import statement leads to them."""
        recipe = self.recipe
        names = {recipe.student.model, recipe.distill.peer, teacher_model(recipe.teacher, recipe.threat)}
        if recipe.natural_teacher is not None:
            names.add(teacher_model(recipe.natural_teacher, recipe.threat))
        return tuple(sorted(name for name in names if name is not None))

    def classifier(self, artifact: Artifact) -> Classifier:
        """The classifier whose weights an artifact holds."""
        weights = artifact.path(WEIGHTS)
        _, model = read_weights(weights)
        assert model is not None, "our own checkpoints name their model"
        pruning = artifact.path(PRUNING) if PRUNING in artifact.files else None
        return Classifier(model, weights, self.dataset.image_shape, len(self.dataset.class_names), pruning)

    def engine_file(self, artifact: Artifact) -> EngineFile:
        """The engine of an engine artifact."""
        about = json.loads(artifact.path("engine.json").read_text())
        path = artifact.path(about["file"])
        return EngineFile(about["target"], path, artifact.sha256(about["file"]), about.get("options", {}))

    def view(self) -> dict[str, tuple[Artifact, str]]:
        """The files that people see in the run's folder, and the artifact each comes from."""
        return {
            name if stage == "settle" else f"{stage}/{name}": (artifact, name)
            for stage, artifact in self.made.items()
            if not stage.startswith(HIDDEN)
            for name in artifact.files
        }

    def external(self) -> dict[str, str]:
        """Files and folders outside the run's folder that were read, and their digests."""
        return self.weights | self._sources

    def make(
        self,
        stage: str,
        work: Callable[[Path, Bar], object],
        *,
        config: Mapping[str, Any],
        code: Sequence[str],
        packages: Sequence[str],
        total: int | None = None,
        **described: Any,
    ) -> Artifact:
        """Make a stage's artifact unless the store has it; see `Store.make`.

        Args:
            stage: its name.
            work: does it, in a folder, telling a progress bar.
            config: the recipe's sections and other settings that matter.
            code: modules that matter, beside those of the recipe's data set and models.
            packages: installed packages that matter.
            total: what its progress bar counts to.
            described: further arguments of `Store.make`.
        """
        if stage not in self.made:
            settings = {
                name: value.model_dump(mode="json") if isinstance(value, Config) else value
                for name, value in config.items()
            }
            with self.reporter.stage(stage, total) as bar:
                self.made[stage] = self.store.make(
                    stage,
                    lambda folder: work(folder, bar),
                    config=settings,
                    code=[*code, *_plugin_code(self.recipe.data.dataset, self._models)],
                    packages=[*packages, *(package for name in self._models for package in package_behind(name))],
                    **described,
                )
        return self.made[stage]

    def running_in(self, folder: Path, bar: Bar) -> TrainingContext:
        """Where and on what a training in `folder` runs, and who is told."""
        return replace(self._running, folder=folder, on_step=bar.step, on_epoch=bar.epoch, notice=self.reporter.notice)


def network_inputs(name: str, artifact: Artifact) -> dict[str, str]:
    """The digests of a network's files, as inputs of a stage; a pruned one's weights alone do not make it."""
    found = {name: artifact.sha256(WEIGHTS)}
    if PRUNING in artifact.files:
        found[f"{name}_pruning"] = artifact.sha256(PRUNING)
    return found


def module_of(thing: Any) -> str:
    """The module of something registered: no import statement leads to it."""
    return str(thing.__module__)


def _plugin_code(dataset: str, names: Sequence[str]) -> list[str]:
    """Modules of the things that a recipe names, its user's own included: no import statement leads to them."""
    registered = [module_of(datasets[dataset]), *(module_of(models[name]) for name in names)]
    return [*registered, *function_modules([dataset, *names])]
