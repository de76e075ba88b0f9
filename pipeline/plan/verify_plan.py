"""Plan of a verification (`edgeproof verify --dry-run`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.onnx_reader import read_onnx
from ...core.onnx_walk import nodes
from ...core.user_modules import modules_beside_recipe
from ...core.writing.scratch import scratch_folder
from ...stages.adapt import AdapterConfig
from ...stages.twin import NoTwin, Twin
from ...stages.verify import CorruptionsConfig, Evaluation, Workforce, default_workers
from ..commands.verify import check_same_subject, conditions_of, config_of, examined, folder_of
from ..progress import Reporter
from ..request.verification import Request, check_request
from ..request.verification_settings import Settings
from ..run.maker import Maker
from ..run.proof import Proof
from ..store.artifact import Artifact
from ..store.folder_guard import check_own
from .looking_store import LookingStore, NotMadeError, planned
from .words import cost_of, cost_words, data_of, data_words, stage_lines

if TYPE_CHECKING:
    from rich.console import Console


@modules_beside_recipe
def plan_verification(
    model: str | Path,
    *,
    dataset: str | Path | None = None,
    eps: str | float | None = None,
    norm: str | None = None,
    samples: int | None = None,
    data_root: Path | str | None = None,
    store: Path | str | None = None,
    image_size: str | int | tuple[int, int] | None = None,
    grey: bool = False,
    recipe: Path | str | None = None,
    overrides: Sequence[str] = (),
    graph: Path | str | None = None,
    surrogate: Path | str | None = None,
    packs: Sequence[Path | str] = (),
    out: Path | str | None = None,
    force: bool = False,
    target: str = "onnxruntime",
    options: Sequence[str] = (),
    adapter: AdapterConfig | Mapping[str, Any] | None = None,
    surrogate_adapter: AdapterConfig | Mapping[str, Any] | None = None,
    gates: Sequence[str] = (),
    sequential: bool = False,
    seed: int | None = None,
    corruptions: bool | CorruptionsConfig = False,
    curve: bool = True,
    workers: int | None = None,
    num_nodes: int = 1,
) -> dict[str, Any]:
    """Say what `verify` would do with the same arguments, and measure what the attacks would take.

    Returns:
        JSON-able data: the model and its adapter, the images, how much of the graph the twin reads, the stages and
        whether each is there, and the cost of the attacks that are to be done; no cost of attacks that are there, or of
        a sequential run, which nobody knows the end of.

    Raises:
        UsageError: as of `verify`.
        BackendMissing: likewise.
    """
    conditions = conditions_of(gates, out)
    settings = Settings.read(
        overrides,
        recipe,
        {"dataset": dataset, "root": data_root, "image_size": image_size, "grey": grey or None},
        {"norm": norm, "eps": eps},
        {"samples": samples, "seed": seed, "packs": packs or None, "corruptions": corruptions, "curve": curve},
        adapter=adapter,
        surrogate_adapter=surrogate_adapter,
    )
    config = config_of(settings.verify, conditions, sequential=sequential, num_nodes=num_nodes)
    workers = workers or default_workers()
    folder = folder_of(str(model), out)
    check_own(folder, build=False)
    with scratch_folder() as scratch:
        request = check_request(
            str(model),
            settings.data,
            settings.threat,
            config,
            target,
            scratch=scratch,
            options=options,
            graph=graph,
            surrogate=surrogate,
            adapter=settings.adapter,
            surrogate_adapter=settings.surrogate_adapter,
            deciding=tuple(conditions) if sequential else None,
        )
        evaluation = Evaluation(request.samples, request.threat, request.config, request.stop, request.earlier)
        if not force:
            check_same_subject(folder, request)
        looking = LookingStore(folder, None if store is None else Path(store))
        proof = Proof(Maker(looking, Reporter(quiet=True)), request.dataset, evaluation, Workforce(workers))
        stages = list(planned(_steps(proof, request, settings, surrogate)))
        attack = next(each for each in stages if each.name == f"attack/{request.target}")
        cost = None
        if not attack.cached and not sequential:
            from ...stages.verify.cost import attack_cost

            subject, order = request.subjects[request.target], request.config.routes
            cost = cost_of(attack_cost(subject, evaluation, order, workers * num_nodes, curve=True))
        return {
            "model": str(model),
            "target": request.target,
            "threat": request.threat.model_dump(),
            "data": data_of(request.dataset, len(request.samples)),
            "adapter": {name: list(each.words) for name, each in request.adapted.items()},
            "twin": _twin(request),
            "warnings": list(request.warnings),
            "stages": [{"stage": each.name, "state": each.state} for each in stages],
            "cost": cost,
        }


def show_plan(plan: Mapping[str, Any], console: Console) -> None:
    """Print a plan of a verification."""
    threat = plan["threat"]
    lines = [
        f"model: {plan['model']} on {plan['target']}, {threat['norm']} eps {threat['eps']:g}",
        f"data: {data_words(plan['data'])}",
        *(f"adapter of {name}: {', '.join(words)}" for name, words in plan["adapter"].items()),
        *_twin_words(plan["twin"]),
        *(f"warning: {each}" for each in plan["warnings"]),
        "stages:",
        *stage_lines(plan["stages"]),
        *(["no cost: the attacks are done, or end when the gates are decided"] if plan["cost"] is None else []),
        *([] if plan["cost"] is None else cost_words(plan["cost"])),
        "nothing was written",
    ]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _steps(
    proof: Proof, request: Request, settings: Settings, surrogate: str | Path | None
) -> Iterator[tuple[str, Callable[[], object]]]:
    found: dict[str, Artifact] = {}

    def made(names: Collection[str]) -> list[Artifact]:
        for name in names:
            if name not in found:
                raise NotMadeError(f"attack/{name}")
        return [found[name] for name in names]

    def attacked(name: str) -> Callable[[], object]:
        def ask() -> None:
            names = list(request.subjects)
            before = made(names[: names.index(name)])
            found[name] = proof.attacked(request.subjects[name], before=before, inputs=request.answers(name))

        return ask

    def settled() -> None:
        made(request.subjects)
        proof.aggregated(request.subjects, found, curve_of=[request.target])

    yield f"clean/{request.target}", lambda: examined(proof, request, settings, surrogate)
    for name in request.subjects:
        yield f"attack/{name}", attacked(name)
    yield "settle", settled


def _twin(request: Request) -> dict[str, Any] | None:
    """How much of the graph the twin reads; None of a function, which has none."""
    if request.graph is None:
        return None
    model = read_onnx(request.graph)
    operators = Counter(f"{node.domain}::{node.op_type}".removeprefix("::") for node in nodes(model))
    problem = None
    try:
        Twin(model)
    except NoTwin as error:
        problem = str(error)
    return {"nodes": sum(operators.values()), "operators": dict(operators.most_common()), "problem": problem}


def _twin_words(twin: Mapping[str, Any] | None) -> list[str]:
    if twin is None:
        return ["twin: none of a function; its gradients are its surrogate's"]
    kinds = ", ".join(f"{name} {count}" for name, count in twin["operators"].items())
    head = f"twin: {twin['nodes']} nodes of {len(twin['operators'])} operators ({kinds})"
    return [f"{head}: all are read" if twin["problem"] is None else f"{head}: has none; {twin['problem']}"]
