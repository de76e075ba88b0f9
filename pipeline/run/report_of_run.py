"""Report of a build, from its artifacts."""

from __future__ import annotations

from typing import Any

from ...core.reading.json_text import read_json
from ...stages.checkpoint import WEIGHTS
from ...stages.latency.bench import BENCH
from ...stages.properties import properties_of
from ...stages.quantize import CALIBRATION, MODEL, precision_name
from ...stages.teacher.validation import VALIDATION, TeacherValidation
from ...stages.verify.figures import FIGURES_FILE, read_figures
from ...targets.base import targets
from ..results.report import Report, draw_up, engine_subject, torch_subject
from ..store.artifact import Artifact
from . import RecipeRun


def assemble(stages: RecipeRun) -> Report:
    """Draw up the report: teacher, student, every engine, and the recipe's gates on the engines."""
    recipe = stages.artifacts.recipe
    aggregated = stages.attacks.aggregated()
    figures = read_figures(aggregated.path(FIGURES_FILE))
    times = read_json(stages.benches.ledger().path(BENCH))
    subjects = [
        torch_subject(
            name,
            artifact.sha256(WEIGHTS),
            figures[name],
            stages.artifacts.classifier(artifact).parameters(),
            times[name],
        )
        for name, artifact in stages.attacks.networks().items()
    ]
    found = TeacherValidation.read(stages.networks.teacher().path(VALIDATION))
    subjects[0] = {**subjects[0], "warnings": [*found.warnings, *subjects[0]["warnings"]]}
    for name, (artifact, graph) in stages.attacks.engines().items():
        engine = stages.artifacts.engine_file(artifact)
        ships = name in stages.engines.available
        subjects.append(
            engine_subject(
                name,
                path=f"engines/{name}/{engine.path.name}" if ships else f"{graph.stage}/{engine.path.name}",
                sha256=engine.sha256,
                precision=properties_of(graph.path(MODEL)).get(
                    "edgeproof.precision", precision_name(recipe.quantize, targets[engine.target].scheme)
                ),
                figures=figures[name],
                times=times[name],
                bench=read_json(stages.benches.engine(name).path(BENCH)) if ships else None,
                calibration=_calibration(stages.engines.quantized(name)) if ships else None,
                options=engine.options,
                kind="engine" if ships else "step",
            )
        )
    # The gates are on engines and on what they keep of the student; a doubt about the teacher is a warning.
    doubts = [doubt for name in ("student", *stages.engines.available) for doubt in figures[name].doubts(name)]
    return draw_up(
        name=recipe.name,
        recipe_digest=recipe.digest,
        threat=recipe.threat.model_dump(),
        subjects=subjects,
        conditions=recipe.conditions(),
        doubts=doubts,
        missing=stages.engines.missing,
        dataset={"name": stages.artifacts.dataset.name, "digest": stages.artifacts.dataset.digest},
        verify=recipe.verify.of_attacks(),
        test_images=len(stages.artifacts.dataset.test),
        when=aggregated.record.get("started"),
        bound_to=recipe.bound_to,
    )


def _calibration(quantized: Artifact) -> dict[str, Any] | None:
    """What the images were that activation ranges come from; their rows stay in the artifact."""
    if CALIBRATION not in quantized.files:
        return None
    record = read_json(quantized.path(CALIBRATION))
    return {key: value for key, value in record.items() if key != "index"}
