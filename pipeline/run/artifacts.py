"""Artifact making: the recipe, its data and the store that all stages of a run share."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from ...core.config import Config
from ...core.reading.json_text import read_json
from ...stages.checkpoint import WEIGHTS, read_weights
from ...stages.classifier import Classifier
from ...stages.data import Dataset, datasets, load_dataset
from ...stages.distill import TrainingContext
from ...stages.models import package_behind
from ...stages.prune import PRUNING
from ...stages.teacher import teacher_model
from ...targets.base import EngineFile
from ..progress import Bar, Reporter
from ..recipe.recipe import Recipe
from ..store.artifact import Artifact, Stage
from ..store.manifest import fingerprint
from ..store.store import Store
from ..store.user_code import function_modules
from .maker import Maker, Work
from .plugin_code import model_code, module_of

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
        maker: makes them.
        weights: weight files outside the run's folder that were read, and their digests.
    """

    def __init__(self, recipe: Recipe, store: Store, reporter: Reporter, running: TrainingContext) -> None:
        self.recipe = recipe
        self.reporter = reporter
        self.maker = Maker(store, reporter)
        self.weights: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._running = running

    @property
    def made(self) -> dict[str, Artifact]:
        """The run's artifacts by stage."""
        return self.maker.made

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
        about = read_json(artifact.path("engine.json"))
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

    def make(self, stage: Stage, work: Work, total: int | None = None) -> Artifact:
        """Make a stage's artifact unless there is one; see `Maker.make`.

        Args:
            stage: what it is made from, and how: its configuration may hold sections of the recipe, and the code and
                packages of the recipe's data set and models are added to its own.
            work: does it.
            total: what its progress bar counts to.
        """
        if found := self.made.get(stage.name):
            return found
        settings = {
            name: value.model_dump(mode="json") if isinstance(value, Config) else value
            for name, value in stage.config.items()
        }
        code = [module_of(datasets[self.recipe.data.dataset]), *function_modules([self.recipe.data.dataset])]
        packages = [package for name in self._models for package in package_behind(name)]
        whole = replace(
            stage,
            config=settings,
            code=[*stage.code, *code, *self._norm_code(stage), *model_code(self._models)],
            packages=[*stage.packages, *packages],
        )
        return self.maker.make(whole, work, total)

    def _norm_code(self, stage: Stage) -> list[str]:
        """The norm's module, where the ball matters: no import statement leads to it."""
        return [module_of(type(self.recipe.threat.geometry))] if "threat" in stage.config else []

    def running_in(self, folder: Path, bar: Bar) -> TrainingContext:
        """Where and on what a training in `folder` runs, and who is told."""
        return replace(self._running, folder=folder, on_step=bar.step, on_epoch=bar.epoch, notice=self.reporter.notice)


def network_inputs(name: str, artifact: Artifact) -> dict[str, str]:
    """The digests of a network's files, as inputs of a stage; a pruned one's weights alone do not make it."""
    found = {name: artifact.sha256(WEIGHTS)}
    if PRUNING in artifact.files:
        found[f"{name}_pruning"] = artifact.sha256(PRUNING)
    return found
