"""Recipe: one YAML file that says everything about a run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ...core.config import Config, Like
from ...core.errors import UsageError
from ...core.model_file import sha256_of
from ...core.reading.published_paths import published_path
from ...stages.adapt import AdapterConfig
from ...stages.data import DataConfig
from ...stages.distill import InnerMaximisation, TrainConfig
from ...stages.export import ExportConfig
from ...stages.latency.bench import BenchConfig
from ...stages.prune import PruneConfig
from ...stages.quantize import QuantizeConfig
from ...stages.quantize.precisions.base import precisions
from ...stages.recover import RecoverConfig
from ...stages.student import StudentConfig
from ...stages.teacher import NaturalTeacherConfig, TeacherConfig
from ...stages.threat import ThreatModel
from ...stages.verify import VerifyConfig
from ...stages.verify.routes.base import routes
from ...targets.base import TargetOptions
from ..figures.table import figure_named, gated
from ..gates import Condition
from ..gates.bound_to import KEY, BoundTo
from .read import FILES, LISTS
from .target_choice import TargetChoice, chosen_targets
from .validation_errors import one_line

# The figures whose gates decide which layers are quantized.
CHOOSING = ("clean_accuracy", "robust_accuracy", "robust_accuracy_8bit", "retention")
RunName = Annotated[
    str, Like(r"^[A-Za-z0-9][A-Za-z0-9._-]*$", "of letters, digits, '.', '_' and '-', with a letter or a digit first")
]
# Sections whose training learns from a teacher.
DISTILLATIONS = ("distill", "prune.train", "recover")


def _with_figures(schema: dict[str, Any]) -> None:
    """Name the figures, so that editors complete them; others may come with plug-ins."""
    schema["properties"] = {KEY: BoundTo.model_json_schema()} | {
        figure.name: {"type": "string", "description": figure.help} for figure in gated(routes.names())
    }


class Recipe(Config):
    """All sections of a run, in ledger order; each is the config model that stands beside its stage."""

    schema_version: Literal[1]
    name: RunName
    data: DataConfig
    threat: ThreatModel
    teacher: TeacherConfig
    natural_teacher: NaturalTeacherConfig | None = None
    student: StudentConfig
    distill: TrainConfig
    prune: PruneConfig | None = None
    export: ExportConfig = ExportConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    recover: RecoverConfig | None = None
    targets: tuple[TargetChoice, ...] = Field(default=("onnxruntime",), min_length=1)
    verify: VerifyConfig = VerifyConfig()
    bench: BenchConfig = BenchConfig()
    gates: dict[str, str | BoundTo] = Field(default_factory=dict, json_schema_extra=_with_figures)
    adapter: AdapterConfig | None = None
    surrogate_adapter: AdapterConfig | None = None

    @field_validator("targets")
    @classmethod
    def _each_target_once(cls, choices: tuple[TargetChoice, ...]) -> tuple[TargetChoice, ...]:
        chosen_targets(choices)
        return choices

    @field_validator("gates", mode="before")
    @classmethod
    def _known_gates(cls, gates: Any) -> Any:
        if not isinstance(gates, dict):
            return gates
        read: dict[Any, Any] = {}
        for name, limit in gates.items():
            if name == KEY:
                read[name] = _bound_to(limit)
                continue
            read[name] = limit
            _known(lambda name=name, limit=limit: Condition.parse(name, limit, routes.names()))
        return read

    @model_validator(mode="after")
    def _gates_on_what_is_measured(self) -> Recipe:
        for condition in self.conditions():
            needed = figure_named(condition.figure).measured_by
            if needed is not None and getattr(self.verify, needed, None) is None:
                raise ValueError(f"gates.{condition.figure}: is measured where the recipe has verify.{needed}")
        return self

    @model_validator(mode="after")
    def _threat_that_the_gates_are_bound_to(self) -> Recipe:
        for key in ("norm", "eps"):
            asked, found = getattr(self.bound_to, key), getattr(self.threat, key)
            if asked not in (None, found):
                raise ValueError(f"gates.{KEY}.{key}: is {asked}, threat.{key} is {found}; no run could pass")
        return self

    @model_validator(mode="after")
    def _steps_inside_the_ball(self) -> Recipe:
        for where, config in self.trainings().items():
            _known(
                lambda where=where, config=config: InnerMaximisation.of(
                    config.inner, self.threat, where=f"{where}.inner"
                )
            )
        return self

    @model_validator(mode="after")
    def _teachers_that_are_needed(self) -> Recipe:
        for where, config in self.trainings().items():
            if where not in DISTILLATIONS and config.needs:
                raise ValueError(f"{where}.method: {config.method!r} distils; a teacher is trained without one")
        distillations = {where: config for where, config in self.trainings().items() if where in DISTILLATIONS}
        wanting = [where for where, config in distillations.items() if "natural_teacher" in config.needs]
        if wanting and self.natural_teacher is None:
            method = distillations[wanting[0]].method
            raise ValueError(f"natural_teacher: missing; {wanting[0]}.method {method!r} learns from one")
        if not wanting and self.natural_teacher is not None:
            raise ValueError(f"natural_teacher: distill.method {self.distill.method!r} has no use for one")
        return self

    @model_validator(mode="after")
    def _something_to_recover(self) -> Recipe:
        if self.recover is not None and precisions[self.quantize.precision].exact:
            name = self.quantize.precision
            raise ValueError(f"recover: learns back what quantization cost; quantize.precision {name} costs nothing")
        return self

    def trainings(self) -> dict[str, TrainConfig]:
        """Return what is trained here, by its section."""
        found: dict[str, TrainConfig] = {"distill": self.distill}
        if self.prune is not None:
            found["prune.train"] = self.prune.train
        if self.recover is not None:
            found["recover"] = self.recover
        for name, teacher in (("teacher", self.teacher), ("natural_teacher", self.natural_teacher)):
            if teacher is not None and not teacher.trained_elsewhere:
                found[f"{name}.train"] = teacher.training
        return found

    @property
    def chosen_targets(self) -> dict[str, TargetOptions]:
        """The targets by name in recipe order, each with its options."""
        return chosen_targets(self.targets)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the resolved recipe, as `sha256:…`; what files hold counts, not where they lie."""
        resolved = self.model_dump(mode="json")
        for keys, file in self.files().items():
            _section(resolved, keys[:-1])[keys[-1]] = sha256_of(file)
        del resolved["data"]["root"]
        # Those are of other people's files, which no build reads.
        del resolved["adapter"], resolved["surrogate_adapter"]
        canonical = json.dumps(resolved, sort_keys=True)
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

    def files(self) -> dict[tuple[str | int, ...], Path]:
        """Return the files that the recipe names, by their keys; one of a list has its number as the last."""
        plain = self.model_dump()
        found: dict[tuple[str | int, ...], Path | None] = {
            keys: (_section(plain, keys[:-1]) or {}).get(keys[-1]) for keys in FILES
        }
        found |= {(*keys, number): file for keys in LISTS for number, file in enumerate(_section(plain, keys) or ())}
        return {keys: file for keys, file in found.items() if file is not None}

    def floors(self) -> dict[str, float]:
        """Return the least accuracies and retention that the gates ask for, by which precisions are chosen."""
        return {
            condition.figure: condition.limit
            for condition in self.conditions()
            if condition.comparison.startswith(">") and not condition.relative and condition.figure in CHOOSING
        }

    def conditions(self) -> list[Condition]:
        """Return the gates in recipe order."""
        return [Condition.parse(name, limit) for name, limit in self.gates.items() if isinstance(limit, str)]

    @property
    def bound_to(self) -> BoundTo:
        """What a run must have been for the gates to mean what they say."""
        found = self.gates.get(KEY)
        return found if isinstance(found, BoundTo) else BoundTo()


def _section(recipe: Any, keys: Sequence[str | int]) -> Any:
    """Return a part of a recipe, None where there is none."""
    for key in keys:
        recipe = recipe.get(key) if recipe else None
    return recipe


def _bound_to(keys: Any) -> BoundTo:
    if not isinstance(keys, dict):
        raise ValueError(f"{KEY}: must be a section of keys ({', '.join(BoundTo.model_fields)}), got {keys!r}")
    try:
        return BoundTo.model_validate(keys)
    except ValidationError as error:
        raise ValueError(f"{KEY}.{one_line(error, BoundTo)}") from None


def _known(look_up: Callable[[], object]) -> None:
    """Turn a UsageError into what pydantic reports with the path of the section."""
    try:
        look_up()
    except UsageError as error:
        raise ValueError(str(error)) from None


def parse_recipe(raw: dict[str, Any], source: str) -> Recipe:
    """Validate a recipe.

    Raises:
        UsageError: one line with the path of the key, its value, and what is allowed.
    """
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{source}: {one_line(error, Recipe)}") from None
    for keys, file in recipe.files().items():
        if not os.path.isfile(file):  # Path's own raises where a name is too long
            raise UsageError(f"{source}: {'.'.join(map(str, keys))}: {file}: no such file")
    return recipe


def schema() -> dict[str, Any]:
    """Return the JSON Schema of recipes, by which editors complete them."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


def dump(recipe: Recipe, run: Path | None = None) -> str:
    """Return the resolved recipe as YAML.

    Args:
        recipe: the recipe.
        run: the folder of the run that it goes into: its paths are then those that may be published from there.
    """
    resolved = recipe.model_dump(mode="json")
    if run is not None:
        paths = {**recipe.files(), **({} if recipe.data.root is None else {("data", "root"): recipe.data.root})}
        for keys, path in paths.items():
            _section(resolved, keys[:-1])[keys[-1]] = published_path(path, run)
    return yaml.safe_dump(resolved, sort_keys=False)
