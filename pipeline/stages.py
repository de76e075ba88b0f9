"""The stages of a run as artifacts of its store: what each reads, and which code and packages matter."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..stages.bench import bench
from ..stages.checkpoint import WEIGHTS, read_weights
from ..stages.classifier import Classifier
from ..stages.data import Dataset, Split, datasets, load_dataset
from ..stages.distill import Running, TrainConfig
from ..stages.distill.plugin import plugins
from ..stages.export import MODEL, export_student
from ..stages.models import build_model, models, package_behind
from ..stages.quantize import quantize_student
from ..stages.section import Section
from ..stages.student import distil_student
from ..stages.teacher import TeacherConfig, make_teacher, teacher_model, weight_file
from ..stages.teacher.pretrained import weights_digest
from ..stages.verify import (
    Attacked,
    EngineSubject,
    Subject,
    TorchSubject,
    attack_subject,
    default_workers,
    sample,
    settle,
)
from ..stages.verify.attack import CANDIDATES
from ..stages.verify.route import routes
from ..targets.base import EngineFile, sha256_of, targets
from ..targets.errors import UsageError
from ..targets.onnxruntime import OnnxRuntime
from .functions import function_modules
from .progress import Bar, Reporter
from .recipe import Recipe
from .store import Artifact, Store, fingerprint

STAGES = "edgeproof.stages"
TRAINING = ("torch", "lightning-fabric", "numpy")
ATTACKING = ("torch", "onnx", "onnxruntime", "pyautoattack", "numpy")
# Only of use to other stages, so not shown in the run's folder.
HIDDEN = ("attack/", "float-engine")


class Stages:
    """Every stage of a recipe, made when first asked for and remembered for the run.

    Args:
        recipe: the validated recipe.
        store: where artifacts live.
        reporter: where progress goes.
        workers: processes that attack; one a core when None.
        running: on what trainings run.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        reporter: Reporter,
        workers: int | None = None,
        running: Running | None = None,
    ) -> None:
        self.recipe = recipe
        self.store = store
        self.made: dict[str, Artifact] = {}
        self._reporter = reporter
        self._sources: dict[str, str] = {}
        self._weights: dict[str, str] = {}
        self._workers = workers or default_workers()
        self._running = running or Running()
        states = {name: targets[name].available() for name in recipe.targets}
        self.available = tuple(name for name, state in states.items() if state.available)
        self.missing = tuple(
            f"target {name!r} is missing: {state.reason}" for name, state in states.items() if not state.available
        )

    @cached_property
    def dataset(self) -> Dataset:
        """The data set in its three splits."""
        with self._reporter.stage("data"):
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

    @cached_property
    def samples(self) -> Split:
        """The test samples that are attacked."""
        test = self.dataset.test
        try:
            return sample(test, self.recipe.verify)
        except UsageError as error:
            raise UsageError(f"verify.{error}") from None

    def check(self) -> None:
        """See, before anything is made, that the recipe suits its data; a mistake then costs no training.

        Raises:
            UsageError: it does not.
        """
        _ = self.samples
        for where, config in self.recipe.trainings().items():
            config.check_images(self.dataset.image_shape, where)

    def teacher(self) -> Artifact:
        """The teacher's weights."""
        return self._teacher("teacher", self.recipe.teacher)

    def natural_teacher(self) -> Artifact | None:
        """The clean teacher's weights, where the method learns from one."""
        config = self.recipe.natural_teacher
        return None if config is None else self._teacher("natural_teacher", config)

    def _teacher(self, name: str, config: TeacherConfig) -> Artifact:
        training = config.training
        settings: dict[str, Any] = {"model": teacher_model(config, self.recipe.threat)}
        inputs: dict[str, str] = {}
        code = [f"{STAGES}.teacher.make"]
        if config.trained_elsewhere:
            settings["normalize"] = config.normalize
            inputs["weights"] = self._teacher_weights(name, config)
        else:
            settings |= {"train": self._trained(training, inputs), "threat": self.recipe.threat}
            code += _method_code(training)
        return self._make(
            name,
            lambda folder, bar: make_teacher(
                config, self.dataset, self.recipe.threat, folder, where=name, running=self._running_in(folder, bar)
            ),
            config=settings,
            inputs={"data": self.dataset.digest, **inputs},
            code=code,
            packages=TRAINING,
            seed=None if config.trained_elsewhere else training.seed,
            total=training.epochs,
            resumable=True,
            trains=not config.trained_elsewhere,
        )

    def _teacher_weights(self, name: str, config: TeacherConfig) -> str:
        """The digest of the weights that a teacher from elsewhere comes with."""
        shape, classes = self.dataset.image_shape, len(self.dataset.class_names)
        file = weight_file(config, self.recipe.threat, classes, where=name, notice=self._reporter.notice)
        if file is None:
            assert config.model is not None, "without a file a function brings the weights"
            return weights_digest(build_model(config.model, shape, classes, seed=0))
        self._weights[str(file.resolve())] = found = sha256_of(file)
        return found

    def _trained(self, config: TrainConfig, inputs: dict[str, str]) -> dict[str, Any]:
        """The settings of a training; of a file that it starts from, what it holds counts, not where it lies."""
        settings = config.model_dump(mode="json")
        if config.warm_start is not None:
            inputs["warm_start"] = sha256_of(config.warm_start)
            self._weights[str(config.warm_start.resolve())] = inputs["warm_start"]
            del settings["warm_start"]
        return settings

    def _running_in(self, folder: Path, bar: Bar) -> Running:
        return replace(self._running, folder=folder, on_step=bar.step, on_epoch=bar.epoch, notice=self._reporter.notice)

    def student(self) -> Artifact:
        """The student's weights."""
        teacher, natural, config = self.teacher(), self.natural_teacher(), self.recipe.distill
        inputs = {"data": self.dataset.digest, "teacher": teacher.sha256(WEIGHTS)}
        if natural is not None:
            inputs["natural_teacher"] = natural.sha256(WEIGHTS)
        settings = self._trained(config, inputs)
        return self._make(
            "student",
            lambda folder, bar: distil_student(
                self.recipe.student,
                config,
                self.classifier(teacher),
                self.dataset,
                self.recipe.threat,
                folder,
                natural_teacher=None if natural is None else self.classifier(natural),
                running=self._running_in(folder, bar),
            ),
            config={"threat": self.recipe.threat, "student": self.recipe.student, "distill": settings},
            inputs=inputs,
            code=[f"{STAGES}.student", *_method_code(config)],
            packages=TRAINING,
            parents=[teacher] if natural is None else [teacher, natural],
            seed=config.seed,
            total=config.epochs,
            resumable=True,
            trains=True,
        )

    def exported(self) -> Artifact:
        """The student as a float ONNX file."""
        student = self.student()
        return self._make(
            "export",
            lambda folder, _: export_student(
                self.classifier(student).load(),
                self.recipe.export,
                self.dataset,
                self.recipe.threat,
                folder,
                recipe_digest=self.recipe.digest,
            ),
            config={
                "export": self.recipe.export,
                "threat": self.recipe.threat,
                "recipe": self.recipe.digest,
            },
            inputs={"student": student.sha256(WEIGHTS), "data": self.dataset.digest},
            code=[f"{STAGES}.export"],
            packages=("torch", "onnx", "onnxscript", "onnxruntime"),
            parents=[student],
        )

    def quantized(self, target: str) -> Artifact:
        """The ONNX file in a target's scheme; targets of one scheme share it."""
        scheme, exported = targets[target].scheme, self.exported()
        return self._make(
            f"quantize/{scheme.name}",
            lambda folder, _: quantize_student(
                exported.path(MODEL), self.recipe.quantize, scheme, self.dataset, folder
            ),
            config={"quantize": self.recipe.quantize, "scheme": vars(scheme)},
            inputs={"model": exported.sha256(MODEL), "data": self.dataset.digest},
            code=[f"{STAGES}.quantize"],
            packages=("onnx", "onnxruntime", "numpy"),
            parents=[exported],
            seed=self.recipe.quantize.seed,
        )

    def engine(self, target: str) -> Artifact:
        """A target's engine."""
        return self._engine(f"engines/{target}", target, self.quantized(target))

    def float_engine(self) -> Artifact:
        """The float ONNX file on ONNX Runtime, beside which engines are timed."""
        return self._engine("float-engine", OnnxRuntime.name, self.exported())

    def attacked(self, name: str) -> Artifact:
        """The attacks on one subject; engines first face what was found on the student."""
        verify = self.recipe.verify
        subject = self.subjects()[name]
        order: Sequence[str] = verify.attacks
        code = [f"{STAGES}.verify.attack"]
        inputs = {"data": self.dataset.digest}
        student: Artifact | None = None
        if isinstance(subject, EngineSubject):
            order, source, student = verify.routes, self.engine(name), self.attacked("student")
            inputs |= {
                "engine": subject.engine.sha256,
                "graph": self.quantized(name).sha256(MODEL),
                "surrogate": self.exported().sha256(MODEL),
                "pool": student.sha256(CANDIDATES),
            }
            code.append(_module(type(targets[name])))
        else:
            source = self.teacher() if name == "teacher" else self.student()
            inputs["weights"] = source.sha256(WEIGHTS)

        def work(folder: Path, bar: Bar) -> None:
            attack_subject(
                subject,
                self.samples,
                self.recipe.threat,
                verify,
                order,
                folder,
                pool=Attacked.load(student.folder).candidates if student else None,
                workers=self._workers,
                progress=bar.shards,
            )

        return self._make(
            f"attack/{name}",
            work,
            config={"threat": self.recipe.threat, "verify": verify, "order": list(order)},
            inputs=inputs,
            code=[*code, *(_module(type(routes[route])) for route in order)],
            packages=ATTACKING,
            parents=[source, *([student] if student else [])],
            seed=verify.seed,
            resumable=True,
        )

    def settled(self) -> Artifact:
        """The figures of all subjects, after each has faced everybody's candidates."""
        subjects = self.subjects()
        found = {name: self.attacked(name) for name in subjects}
        return self._make(
            "settle",
            lambda folder, _: settle(
                {name: Attacked.load(artifact.folder) for name, artifact in found.items()},
                subjects,
                self.samples,
                folder,
                student="student",
            ),
            config={"verify": self.recipe.verify},
            inputs={name: artifact.key for name, artifact in found.items()},
            code=[f"{STAGES}.verify.settle"],
            packages=ATTACKING,
            parents=list(found.values()),
        )

    def benched(self, target: str) -> Artifact:
        """A target's latencies beside the float engine and torch eager."""
        engine, floating, student = self.engine(target), self.float_engine(), self.student()
        return self._make(
            f"bench/{target}",
            lambda folder, _: bench(
                self.engine_file(engine),
                self.dataset.test.images,
                self.recipe.bench,
                folder,
                float_engine=self.engine_file(floating),
                eager=self.classifier(student),
            ),
            config={"bench": self.recipe.bench},
            inputs={"engine": engine.key, "float": floating.key, "student": student.sha256(WEIGHTS)},
            code=[f"{STAGES}.bench"],
            packages=("torch", "onnxruntime"),
            parents=[engine, floating, student],
        )

    def subjects(self) -> dict[str, Subject]:
        """What is attacked, in ledger order: teacher, student, every engine."""
        found: dict[str, Subject] = {
            "teacher": TorchSubject("teacher", self.classifier(self.teacher())),
            "student": TorchSubject("student", self.classifier(self.student())),
        }
        for target in self.available:
            graph = self.quantized(target).path(MODEL)
            engine = self.engine_file(self.engine(target))
            floating = self.exported().path(MODEL)
            found[target] = EngineSubject(target, engine, graph, self.recipe.verify.backward, floating)
        return found

    def classifier(self, artifact: Artifact) -> Classifier:
        """The classifier whose weights an artifact holds."""
        weights = artifact.path(WEIGHTS)
        _, model = read_weights(weights)
        assert model is not None, "our own checkpoints name their model"
        return Classifier(model, weights, self.dataset.image_shape, len(self.dataset.class_names))

    def engine_file(self, artifact: Artifact) -> EngineFile:
        """The engine of an engine artifact."""
        about = json.loads(artifact.path("engine.json").read_text())
        return EngineFile(about["target"], artifact.path(about["file"]), artifact.sha256(about["file"]))

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
        return self._weights | self._sources

    def _engine(self, stage: str, target: str, source: Artifact) -> Artifact:
        def work(folder: Path, _: Bar) -> None:
            built = targets[target].build(source.path(MODEL), folder)
            (folder / "engine.json").write_text(json.dumps({"target": target, "file": built.path.name}))

        return self._make(
            stage,
            work,
            config={"target": target},
            inputs={"model": source.sha256(MODEL)},
            code=[_module(type(targets[target]))],
            packages=tuple(targets[target].available().versions),
            parents=[source],
        )

    def _make(
        self,
        stage: str,
        work: Callable[[Path, Bar], None],
        *,
        config: Mapping[str, Any],
        code: Sequence[str],
        packages: Sequence[str],
        total: int | None = None,
        **described: Any,
    ) -> Artifact:
        if stage not in self.made:
            settings = {
                name: value.model_dump(mode="json") if isinstance(value, Section) else value
                for name, value in config.items()
            }
            with self._reporter.stage(stage, total) as bar:
                self.made[stage] = self.store.make(
                    stage,
                    lambda folder: work(folder, bar),
                    config=settings,
                    code=[*code, *_plugin_code(self.recipe.data.dataset, self._models)],
                    packages=[*packages, *(package for name in self._models for package in package_behind(name))],
                    **described,
                )
        return self.made[stage]


def _method_code(config: TrainConfig) -> list[str]:
    """Modules of a method and of its plug-ins: no import statement leads to them."""
    return [_module(config.method_class), *(_module(plugins[name]) for name in config.plugin_options)]


def _module(thing: Any) -> str:
    return str(thing.__module__)


def _plugin_code(dataset: str, names: Sequence[str]) -> list[str]:
    """Modules of the things that a recipe names, its user's own included: no import statement leads to them."""
    registered = [_module(datasets[dataset]), *(_module(models[name]) for name in names)]
    return [*registered, *function_modules([dataset, *names])]
