"""Network artifacts: teachers and the student."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ...core.errors import StageError
from ...core.model_file import sha256_of
from ...stages.checkpoint import WEIGHTS
from ...stages.distill import TrainConfig
from ...stages.distill.plugin import plugins
from ...stages.models import build_model
from ...stages.prune import prune_student
from ...stages.student import distil_student
from ...stages.teacher import TeacherConfig, make_teacher, teacher_model, weight_file
from ...stages.teacher.pretrained import weights_digest
from ...stages.teacher.validation import VALIDATION, TeacherValidation
from ..store.artifact import Artifact, Stage
from .artifacts import STAGES, Artifacts
from .plugin_code import module_of

TRAINING = ("torch", "lightning-fabric", "numpy")


class Networks:
    """Teachers and the student of a run."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    def teacher(self) -> Artifact:
        """The teacher's weights.

        Raises:
            StageError: it is less robust than the recipe requires.
        """
        return self._teacher("teacher", self._artifacts.recipe.teacher)

    def natural_teacher(self) -> Artifact | None:
        """The clean teacher's weights, where the method learns from one."""
        config = self._artifacts.recipe.natural_teacher
        return None if config is None else self._teacher("natural_teacher", config)

    def student(self) -> Artifact:
        """The student's weights."""
        recipe, inputs = self._artifacts.recipe, dict[str, str]()
        settings = self._trained(recipe.distill, inputs)
        return self.distilled(
            Stage(
                "student",
                config={"threat": recipe.threat, "student": recipe.student, "distill": settings},
                inputs=inputs,
                code=[f"{STAGES}.student"],
                packages=(),
            ),
            recipe.distill,
            partial(distil_student, recipe.student, recipe.distill),
            total=recipe.distill.epochs,
        )

    def pruned(self) -> Artifact | None:
        """The pruned student's weights and what was removed, where the recipe prunes."""
        config = self._artifacts.recipe.prune
        if config is None:
            return None
        student = self.student()
        return self.distilled(
            Stage(
                "prune",
                config={"threat": self._artifacts.recipe.threat, "prune": config},
                inputs={"student": student.sha256(WEIGHTS)},
                code=[f"{STAGES}.prune.pruning"],
                packages=("torch-pruning",),
                parents=[student],
            ),
            config.train,
            lambda *lesson, **more: prune_student(self._artifacts.classifier(student), config, *lesson, **more),
            total=config.epochs,
        )

    def distilled(
        self, stage: Stage, config: TrainConfig, work: Callable[..., object], total: int | None = None
    ) -> Artifact:
        """Make an artifact that learns from the teachers.

        Args:
            stage: what it depends on besides the data, the teachers, and the method's code and packages.
            config: how it learns.
            work: learns from `(teacher, dataset, threat, folder, natural_teacher=…, running=…)`.
            total: what its progress bar counts to.
        """
        shared, teacher, natural = self._artifacts, self.teacher(), self.natural_teacher()
        teachers = [teacher, *([] if natural is None else [natural])]
        weights = {artifact.stage: artifact.sha256(WEIGHTS) for artifact in teachers}
        return shared.make(
            replace(
                stage,
                inputs={"data": shared.dataset.digest, **weights, **stage.inputs},
                code=[*stage.code, *method_code(config)],
                packages=[*TRAINING, *stage.packages],
                parents=[*stage.parents, *teachers],
                seed=config.seed,
                resumable=True,
                trains=True,
            ),
            lambda folder, bar: work(
                shared.classifier(teacher),
                shared.dataset,
                shared.recipe.threat,
                folder,
                natural_teacher=None if natural is None else shared.classifier(natural),
                running=shared.running_in(folder, bar),
            ),
            total,
        )

    def final(self) -> Artifact:
        """The network that is exported: the student, or what pruning left of it."""
        return self.pruned() or self.student()

    def _teacher(self, name: str, config: TeacherConfig) -> Artifact:
        training = config.training
        threat = self._artifacts.recipe.threat
        settings: dict[str, Any] = {"model": teacher_model(config, threat), "threat": threat}
        inputs: dict[str, str] = {}
        code = [f"{STAGES}.teacher.making"]
        if config.trained_elsewhere:
            settings |= {"normalize": config.normalize, "weights": config.weights}
            inputs["weights"] = self._teacher_weights(name, config)
        else:
            settings |= {"train": self._trained(training, inputs)}
            code += method_code(training)
        known = name in self._artifacts.made
        made = self._artifacts.make(
            Stage(
                name,
                config=settings,
                inputs={"data": self._artifacts.dataset.digest, **inputs},
                code=code,
                packages=TRAINING,
                seed=None if config.trained_elsewhere else training.seed,
                resumable=True,
                trains=not config.trained_elsewhere,
            ),
            lambda folder, bar: make_teacher(
                config,
                self._artifacts.dataset,
                self._artifacts.recipe.threat,
                folder,
                where=name,
                running=self._artifacts.running_in(folder, bar),
            ),
            total=training.epochs,
        )
        if not known:
            self._look_at(name, config, TeacherValidation.read(made.path(VALIDATION)))
        return made

    def _look_at(self, name: str, config: TeacherConfig, found: TeacherValidation) -> None:
        """Refuse a teacher that is less robust than it must be, and warn of one that is not robust at all."""
        if config.require_robust is not None and found.pgd_accuracy < config.require_robust:
            raise StageError(
                f"{name}.require_robust: {config.require_robust:g} is asked for, and the {name} has "
                f"{found.pgd_accuracy:.3f} ({found.right})"
            )
        if name == "teacher":
            for line in found.warnings:
                self._artifacts.reporter.notice(f"{name}: {line}")

    def _teacher_weights(self, name: str, config: TeacherConfig) -> str:
        """The digest of the weights that a teacher from elsewhere comes with."""
        shape, classes = self._artifacts.dataset.image_shape, len(self._artifacts.dataset.class_names)
        file = weight_file(
            config, self._artifacts.recipe.threat, classes, where=name, notice=self._artifacts.reporter.notice
        )
        if file is None:
            assert config.model is not None, "without a file a function brings the weights"
            return weights_digest(build_model(config.model, shape, classes, seed=0))
        self._artifacts.weights[str(file.resolve())] = found = sha256_of(file)
        return found

    def _trained(self, config: TrainConfig, inputs: dict[str, str]) -> dict[str, Any]:
        """The settings of a training; of a file that it starts from, what it holds counts, not where it lies."""
        settings = config.model_dump(mode="json")
        if config.warm_start is not None:
            inputs["warm_start"] = sha256_of(config.warm_start)
            self._artifacts.weights[str(config.warm_start.resolve())] = inputs["warm_start"]
            del settings["warm_start"]
        return settings


def method_code(config: TrainConfig) -> list[str]:
    """Modules of a method and of its plug-ins: no import statement leads to them."""
    return [module_of(config.method_class), *(module_of(plugins[name]) for name in config.plugin_options)]
