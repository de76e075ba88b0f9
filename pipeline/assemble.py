"""The report of a verified run, from its artifacts."""

from __future__ import annotations

import json

from ..stages.bench import BENCH
from ..stages.checkpoint import WEIGHTS
from ..stages.properties import properties_of
from ..stages.quantize import MODEL, precision_name
from ..stages.verify.settle import FIGURES
from .report import Report, doubts_of, draw_up, engine_subject, torch_subject
from .stages import Stages


def assemble(stages: Stages) -> Report:
    """Draw up the report: teacher, student, every engine, and the recipe's gates on the engines."""
    recipe = stages.shop.recipe
    figures = json.loads(stages.attacks.settled().path(FIGURES).read_text())
    subjects = [
        torch_subject(
            name,
            artifact.sha256(WEIGHTS),
            figures[name],
            stages.shop.classifier(artifact).parameters(),
        )
        for name, artifact in stages.attacks.networks().items()
    ]
    for name, (artifact, graph) in stages.attacks.engines().items():
        engine = stages.shop.engine_file(artifact)
        ships = name in stages.engines.available
        subjects.append(
            engine_subject(
                name,
                path=f"engines/{name}/{engine.path.name}" if ships else f"{graph.stage}/{engine.path.name}",
                sha256=engine.sha256,
                precision=properties_of(graph.path(MODEL)).get("edgeproof.precision", precision_name(recipe.quantize)),
                figures=figures[name],
                bench=json.loads(stages.engines.benched(name).path(BENCH).read_text()) if ships else None,
                size_bytes=engine.path.stat().st_size,
                kind="engine" if ships else "step",
            )
        )
    # The gates are on engines and on what they keep of the student; a doubt about the teacher is a warning.
    doubts = [doubt for name in ("student", *stages.engines.available) for doubt in doubts_of(name, figures[name])]
    return draw_up(
        name=recipe.name,
        recipe_digest=recipe.digest,
        threat=recipe.threat.model_dump(),
        subjects=subjects,
        conditions=recipe.conditions(),
        doubts=doubts,
        missing=stages.engines.missing,
    )
