"""The recipe: one YAML file that says everything about a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from ..stages.bench import BenchConfig
from ..stages.data import DataConfig
from ..stages.distill import InnerMaximisation, TrainConfig
from ..stages.export import ExportConfig
from ..stages.quantize import QuantizeConfig
from ..stages.section import Section
from ..stages.student import StudentConfig
from ..stages.teacher import TeacherConfig
from ..stages.threat import ThreatModel
from ..stages.verify import VerifyConfig
from ..targets.base import sha256_of, targets
from ..targets.errors import UsageError
from .gate import Condition
from .problems import one_line

TargetName = Annotated[str, AfterValidator(targets.check)]


class Recipe(Section):
    """All sections of a run, in ledger order; each is the config model that stands beside its stage."""

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    data: DataConfig
    threat: ThreatModel
    teacher: TeacherConfig
    student: StudentConfig
    distill: TrainConfig
    export: ExportConfig = ExportConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    targets: tuple[TargetName, ...] = Field(default=("onnxruntime",), min_length=1)
    verify: VerifyConfig = VerifyConfig()
    bench: BenchConfig = BenchConfig()
    gates: dict[str, str] = Field(default_factory=dict)

    @field_validator("gates")
    @classmethod
    def _known_gates(cls, gates: dict[str, str]) -> dict[str, str]:
        for name, limit in gates.items():
            _known(lambda name=name, limit=limit: Condition.parse(name, limit))
        return gates

    @model_validator(mode="after")
    def _steps_inside_the_ball(self) -> Recipe:
        trained = [("distill.inner", self.distill)]
        if self.teacher.checkpoint is None:
            trained.append(("teacher.train.inner", self.teacher.training))
        for where, config in trained:
            _known(lambda where=where, config=config: InnerMaximisation.of(config.inner, self.threat, where=where))
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved recipe, as `sha256:…`."""
        resolved = self.model_dump(mode="json")
        if self.teacher.checkpoint is not None:  # what it holds counts, not where it lies
            resolved["teacher"]["checkpoint"] = sha256_of(self.teacher.checkpoint)
        canonical = json.dumps(resolved, sort_keys=True)
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

    def conditions(self) -> list[Condition]:
        """Return the gates in recipe order."""
        return [Condition.parse(name, limit) for name, limit in self.gates.items()]


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
    checkpoint = recipe.teacher.checkpoint
    if checkpoint is not None and not checkpoint.is_file():
        raise UsageError(f"{source}: teacher.checkpoint: {checkpoint}: no such file")
    return recipe


def schema() -> dict[str, Any]:
    """Return the JSON Schema of recipes, by which editors complete them."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


def dump(recipe: Recipe) -> str:
    """Return the resolved recipe as YAML."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
