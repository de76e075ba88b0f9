"""Engine artifacts: ONNX files and engines built from the student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...stages.classifier import Classifier
from ...stages.distill import TrainingContext
from ...stages.export import MODEL, export_student
from ...stages.quantize import quantize_student
from ...stages.quantize.precisions.base import precisions
from ...stages.recover import recover_onnx
from ...targets.base import TargetOptions, targets
from ...targets.onnxruntime.target import OnnxRuntime
from ..progress import Bar
from ..store.artifact import Artifact, Stage
from .artifacts import STAGES, Artifacts, network_inputs
from .networks import Networks
from .plugin_code import module_of


class Engines:
    """The ONNX files and engines of a run.

    Attributes:
        available: the recipe's targets that run here.
        built: those whose engines are built here as well: some need nothing but their builder for that.
        missing: of each target that does not run here, why.
    """

    def __init__(self, artifacts: Artifacts, networks: Networks) -> None:
        self._artifacts = artifacts
        self._networks = networks
        self._options = artifacts.recipe.chosen_targets
        states = {name: targets[name].available() for name in self._options}
        self.available = tuple(name for name, state in states.items() if state.available)
        self._precision = precisions[artifacts.recipe.quantize.precision]
        measured = self._precision.measured
        self.built = tuple(name for name, state in states.items() if state.available or (state.builds and not measured))
        self.missing = tuple(
            f"target {name!r} is {'built and not attacked' if name in self.built else 'missing'}: {state.reason}"
            for name, state in states.items()
            if not state.available
        )

    def exported(self) -> Artifact:
        """The student as a float ONNX file."""
        student = self._networks.final()
        return self._artifacts.make(
            Stage(
                "export",
                config={
                    "export": self._artifacts.recipe.export,
                    "threat": self._artifacts.recipe.threat,
                    "recipe": self._artifacts.recipe.digest,
                },
                inputs={**network_inputs("student", student), "data": self._artifacts.dataset.digest},
                code=[f"{STAGES}.export"],
                packages=("torch", "onnx", "onnxscript", "onnxruntime"),
                parents=[student],
            ),
            lambda folder, _: export_student(
                self._artifacts.classifier(student).load(),
                self._artifacts.recipe.export,
                self._artifacts.dataset,
                self._artifacts.recipe.threat,
                folder,
                recipe_digest=self._artifacts.recipe.digest,
            ),
        )

    def quantized(self, target: str) -> Artifact:
        """The ONNX file in a target's scheme; targets of one scheme share it unless its speed is measured."""
        exported, recipe, runtime = self.exported(), self._artifacts.recipe, targets[target]
        config = {"quantize": recipe.quantize, "scheme": vars(runtime.scheme), "threat": recipe.threat}
        code = [f"{STAGES}.quantize.quantization", module_of(type(self._precision))]
        needs: dict[str, Any] = {}
        if self._precision.measured:
            options, limits = self._options[target], recipe.floors()
            config |= {"limits": limits, **({"options": options.chosen} if options.chosen else {})}
            code.append(module_of(type(runtime)))
            needs = {"target": runtime, "limits": limits, "options": options}
        return self._artifacts.make(
            Stage(
                f"quantize/{target if needs else runtime.scheme.name}",
                config=config,
                inputs={"model": exported.sha256(MODEL), "data": self._artifacts.dataset.digest},
                code=code,
                packages=("onnx", "onnxruntime", "numpy", "torch"),
                parents=[exported],
                seed=recipe.quantize.calibration.seed,
            ),
            lambda folder, bar: quantize_student(
                exported.path(MODEL),
                recipe.quantize,
                runtime.scheme,
                self._artifacts.dataset,
                recipe.threat,
                folder,
                notice=self._artifacts.reporter.notice,
                progress=bar.layers,
                **needs,
            ),
        )

    def shipped(self, target: str) -> Artifact:
        """The ONNX file that a target's engine is made of: recovered where the recipe says so."""
        quantized, config = self.quantized(target), self._artifacts.recipe.recover
        if config is None:
            return quantized

        def work(
            teacher: Classifier, *lesson: Any, natural_teacher: Classifier | None, running: TrainingContext
        ) -> None:
            natural = None if natural_teacher is None else natural_teacher.load()
            graph = quantized.path(MODEL)
            recover_onnx(graph, config, teacher.load(), *lesson, natural_teacher=natural, running=running)

        return self._networks.distilled(
            Stage(
                quantized.stage.replace("quantize/", "recover/"),
                config={"recover": config, "threat": self._artifacts.recipe.threat},
                inputs={"model": quantized.sha256(MODEL)},
                code=[f"{STAGES}.recover.recovery"],
                packages=("onnx",),
                parents=[quantized],
            ),
            config,
            work,
            total=config.epochs,
        )

    def engine(self, target: str) -> Artifact:
        """A target's engine."""
        return self._engine(f"engines/{target}", target, self.shipped(target), self._options[target])

    def engine_before(self, target: str) -> Artifact:
        """A target's engine as it was before `recover`, for the ledger."""
        return self._engine(f"ptq-engine/{target}", target, self.quantized(target), self._options[target])

    def float_engine(self) -> Artifact:
        """The float ONNX file on ONNX Runtime, beside which engines are timed."""
        return self._engine("float-engine", OnnxRuntime.name, self.exported(), OnnxRuntime.options())

    def _engine(self, stage: str, target: str, source: Artifact, options: TargetOptions) -> Artifact:
        chosen, tied = options.chosen, targets[target].tied_to()

        def work(folder: Path, _: Bar) -> None:
            built = targets[target].build(source.path(MODEL), folder, options=options)
            about = {"target": target, "file": built.path.name, "options": dict(built.options)}
            (folder / "engine.json").write_text(json.dumps(about))

        return self._artifacts.make(
            Stage(
                stage,
                config={
                    "target": target,
                    **({"options": chosen} if chosen else {}),
                    **({"tied_to": tied} if tied else {}),
                },
                inputs={"model": source.sha256(MODEL)},
                code=[module_of(type(targets[target])), *targets[target].builds_with],
                packages=tuple(targets[target].available().versions),
                parents=[source],
            ),
            work,
        )
