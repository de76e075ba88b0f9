"""Plan of a build (`edgeproof build --dry-run`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.user_modules import modules_beside_recipe
from ...core.writing.scratch import scratch_folder
from ...stages.distill import TrainingContext
from ...stages.models import build_model
from ...stages.teacher import teacher_model
from ...stages.verify import Evaluation
from ...stages.verify.cost import attack_cost
from ..progress import Reporter
from ..recipe.read import read_recipe
from ..recipe.recipe import Recipe, parse_recipe
from ..run import RecipeRun
from .looking_store import LookingStore, PlannedStage, planned
from .training_cost import training_seconds
from .words import cost_of, cost_words, data_of, data_words, stage_lines, time_words

if TYPE_CHECKING:
    from rich.console import Console


@modules_beside_recipe
def plan_build(
    recipe: Path | str,
    *,
    out: Path | str | None = None,
    overrides: Sequence[str] = (),
    data_root: Path | str | None = None,
    store: Path | str | None = None,
    workers: int | None = None,
    devices: int = 1,
    num_nodes: int = 1,
    accelerator: str = "auto",
) -> dict[str, Any]:
    """Say what `build` would do with the same arguments, and measure what trainings and attacks would take.

    Trainings are timed by a few steps of them, attacks on teacher, student and engines only where these are there: a
    network that is not trained yet has no robustness to attack.

    Returns:
        JSON-able data: the images, the networks, the stages and whether each is there, with seconds where they are
        known.

    Raises:
        UsageError: as of `build`.
    """
    path = Path(recipe)
    parsed = parse_recipe(read_recipe(path, overrides, data_root), str(path))
    folder = Path(out) if out is not None else Path("runs") / parsed.name
    looking = LookingStore(folder, None if store is None else Path(store))
    stages = RecipeRun(parsed, looking, Reporter(quiet=True), workers, TrainingContext(accelerator=accelerator))
    stages.check()
    found = list(planned(_steps(stages)))
    shared = devices * num_nodes
    entries = [{"stage": each.name, "state": each.state, **_took(each, stages, parsed, shared)} for each in found]
    data = stages.artifacts.dataset
    return {
        "recipe": str(path),
        "folder": str(folder),
        "threat": parsed.threat.model_dump(),
        "data": data_of(data, len(stages.attacks.samples)),
        "calibration": min(parsed.quantize.calibration.samples, len(data.train)),
        "networks": _networks(parsed, stages),
        "targets": list(stages.engines.built),
        "missing": list(stages.engines.missing),
        "stages": entries,
    }


def show_plan(plan: Mapping[str, Any], console: Console) -> None:
    """Print a plan of a build."""
    threat = plan["threat"]
    entries = [{**each, "words": _words(each)} for each in plan["stages"]]
    lines = [
        f"recipe: {plan['recipe']} into {plan['folder']}, {threat['norm']} eps {threat['eps']:g}",
        f"data: {data_words(plan['data'])}; {plan['calibration']} of train calibrate",
        *(f"{name}: {words}" for name, words in plan["networks"].items()),
        f"targets: {', '.join(plan['targets']) or 'none that is here'}",
        *(f"warning: {each}" for each in plan["missing"]),
        "stages:",
        *stage_lines(entries),
        *(f"{each['stage']}: {line}" for each in plan["stages"] if "cost" in each for line in cost_words(each["cost"])),
        *(["everything is there"] if all(each["state"] == "cached" for each in plan["stages"]) else []),
        *(["times are estimates: a few steps of each were measured"] if any(map(_timed, plan["stages"])) else []),
        "nothing was written",
    ]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _timed(entry: Mapping[str, Any]) -> bool:
    return "seconds" in entry or "cost" in entry


def _words(entry: Mapping[str, Any]) -> str:
    if "seconds" in entry:
        return f", about {time_words(entry['seconds'])} ({entry['basis']})"
    if "cost" in entry:
        return f", about {time_words(entry['cost']['seconds'])}"
    return "" if entry["state"] == "cached" or "basis" not in entry else f", {entry['basis']}"


def _steps(stages: RecipeRun) -> Iterator[tuple[str, Callable[[], object]]]:
    """The stages in the order of the run."""
    recipe, networks, engines, attacks = stages.artifacts.recipe, stages.networks, stages.engines, stages.attacks
    yield "teacher", networks.teacher
    if recipe.natural_teacher is not None:
        yield "natural_teacher", networks.natural_teacher
    yield "student", networks.student
    if recipe.prune is not None:
        yield "prune", networks.pruned
    yield "export", engines.exported
    for target in engines.built:
        yield f"quantize for {target}", lambda target=target: engines.quantized(target)
        if recipe.recover is not None:
            yield f"recover for {target}", lambda target=target: engines.shipped(target)
        yield f"engines/{target}", lambda target=target: engines.engine(target)
    subjects = ["teacher", "student", *(["pruned"] if recipe.prune is not None else []), *engines.available]
    for name in subjects:
        yield f"attack/{name}", lambda name=name: attacks.attacked(name)
    yield "settle", attacks.aggregated
    yield "bench", stages.benches.all


def _took(stage: PlannedStage, stages: RecipeRun, recipe: Recipe, devices: int) -> dict[str, Any]:
    """What a stage that is not there would take, as far as it can be measured."""
    if stage.cached:
        return {}
    name = stage.name.partition(" ")[0]
    configs = {"teacher": "teacher.train", "natural_teacher": "natural_teacher.train", "student": "distill"}
    config = recipe.trainings().get(configs.get(name, ""))
    if config is not None and devices == 1:
        with scratch_folder() as scratch:
            return training_seconds(configs[name], config, recipe, stages.artifacts.dataset, scratch)
    if name in ("prune", "recover") or config is not None:
        return {"basis": "time unknown: it trains"}
    if not name.startswith("attack/"):
        return {}
    if stage.state != "to do":
        return {"basis": "time unknown before it is there"}
    subject = stages.attacks.subjects()[name.partition("/")[2]]
    evaluation = Evaluation(stages.attacks.samples, recipe.threat, recipe.verify)
    order = recipe.verify.attacks if subject.name in stages.attacks.networks() else recipe.verify.routes
    curve = subject.name != "teacher"
    return {"cost": cost_of(attack_cost(subject, evaluation, order, stages.attacks.workers, curve=curve))}


def _networks(recipe: Recipe, stages: RecipeRun) -> dict[str, str]:
    """The networks and their parameters."""
    data = stages.artifacts.dataset
    found = {"teacher": teacher_model(recipe.teacher, recipe.threat), "student": recipe.student.model}
    words: dict[str, str] = {}
    for name, model in found.items():
        if model is None:
            continue
        network = build_model(model, data.image_shape, len(data.class_names), seed=0)
        words[name] = f"{model}, {sum(each.numel() for each in network.parameters()):,} parameters"
    return words
