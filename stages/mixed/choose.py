"""`precision: mixed` and `auto`: the cheapest assignment of precisions that is good enough."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ...core.errors import StageError
from ...targets.base import Scheme, Target, TargetOptions
from ...targets.signature import read_signature
from ..data import Dataset
from ..properties import describe, properties_of
from ..quantize import MODEL, QuantizeConfig, calibrate, precision_name, scheme_of
from ..quantize.half import to_half
from ..quantize.qdq import insert, prepare
from ..quantize.ranges import Range, activation_ranges
from ..threat import ThreatModel
from ..twin import load_twin
from .assignment import Assignment, Built, build_candidate, choose, compare, good_enough
from .points import find_points
from .sensitivity import Sensitivity, measure_sensitivity

ASSIGNMENT = "assignment.json"


def assign(
    float_model: Path,
    config: QuantizeConfig,
    target: Target,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    *,
    limits: Mapping[str, float],
    options: TargetOptions | None = None,
    notice: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Assignment:
    """Write `model.onnx`, `calibration.json`, `assignment.json`, `sensitivity.png` and `pareto.png` into `folder`.

    Layers are put back into float from the most sensitive on, a few more at a time; every assignment's engine is
    attacked on the validation split, and the fastest one that reaches the limits is taken.

    Args:
        float_model: the float ONNX file.
        config: `mixed`, or `auto`, which also tries fp16 and the float file itself.
        target: whose engine is attacked and timed.
        dataset: its training split calibrates, its validation split is attacked.
        threat: the ball.
        folder: where the files go.
        options: what the target's engines are built with.
        limits: least `clean_accuracy`, `robust_accuracy` and `retention`; the recipe's gates.
        notice: told where no assignment is good enough.
        progress: told after each layer, with how many there are.

    Raises:
        StageError: the quantizer or the target refuses the graph.
    """
    limits = dict(limits) or {"retention": config.search.retention}
    scheme = scheme_of(config, target.scheme)
    images = calibrate(float_model, config, dataset, threat, folder, scheme=scheme, notice=notice)
    twin = load_twin(float_model)
    points = find_points(twin, dataset.validation, threat, config.search)
    with torch.no_grad():
        floating = np.logical_and.reduce(
            [
                (np.asarray(twin(torch.from_numpy(part))).argmax(1) == points.labels)
                for part in (points.split.images, points.adversarial)
            ]
        )
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        prepared = scratch / "prepared.onnx"
        prepare(float_model, prepared)
        ends = read_signature(float_model)
        wide = (ends.input_name, ends.output_name)
        ranges = activation_ranges(prepared, ends.input_name, images, config.calibration, scheme, wide=wide)
        sensitivities = measure_sensitivity(prepared, ranges, scheme, points, progress=progress)
        built: list[Built] = []
        files = _files(
            float_model, prepared, scratch, config, scheme=scheme, ranges=ranges, sensitivities=sensitivities
        )
        for title, path, in_float in files:
            try:
                built.append(
                    build_candidate(
                        title,
                        path,
                        in_float,
                        target=target,
                        options=options,
                        points=points,
                        threat=threat,
                        config=config.search,
                    )
                )
            except StageError as error:
                notice(f"quantize: {title} cannot be built: {error}")
        if not built:
            raise StageError(f"quantize: the target {target.name!r} takes none of the candidates")
        candidates = compare(built, points, floating, config.search)
        chosen = choose(candidates, limits)
        shutil.copyfile(next(each.path for each in built if each.name == chosen.name), folder / MODEL)
        for each in built:
            each.engine.close()
    if not good_enough(chosen, limits):
        wanted = ", ".join(f"{figure} >= {limit:g}" for figure, limit in limits.items())
        notice(f"quantize: no assignment reaches {wanted} on the validation split; {chosen.name} comes nearest")
    describe(
        folder / MODEL,
        {**properties_of(float_model), "edgeproof.precision": chosen.name, "edgeproof.scheme": scheme.name},
    )
    _record(
        folder,
        candidates,
        chosen,
        sensitivities,
        limits=limits,
        float_robust=float(floating.mean()),
        samples=len(points.split),
    )
    return chosen


def _files(
    float_model: Path,
    prepared: Path,
    scratch: Path,
    config: QuantizeConfig,
    *,
    scheme: Scheme,
    ranges: Mapping[str, Range],
    sensitivities: list[Sensitivity],
) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    base = precision_name(config.model_copy(update={"precision": "int8"}))
    ordered = [each.layer for each in sorted(sensitivities, key=lambda each: -each.margin_drop)]
    for count in _counts(len(ordered)):
        kept = tuple(ordered[:count])
        path = scratch / f"mixed-{count}.onnx"
        insert(prepared, path, scheme, ranges, keep=kept)
        yield base + (f" but {count} of {len(ordered)} layers" if count else ""), path, kept
    if config.precision == "auto":
        half = scratch / "fp16.onnx"
        to_half(float_model, half)
        yield "fp16", half, tuple(ordered)
        yield "fp32", float_model, tuple(ordered)


def _counts(layers: int) -> list[int]:
    """How many layers stay in float, from none on: all small numbers, then ever larger steps; never all."""
    found = [0]
    while found[-1] + 1 + found[-1] // 3 < layers:
        found.append(found[-1] + 1 + found[-1] // 3)
    return found


def _record(
    folder: Path,
    candidates: list[Assignment],
    chosen: Assignment,
    sensitivities: list[Sensitivity],
    *,
    limits: Mapping[str, float],
    float_robust: float,
    samples: int,
) -> None:
    record = {
        "split": "validation",
        "samples": samples,
        "float_robust_accuracy": float_robust,
        "limits": dict(limits),
        "chosen": chosen.name,
        "candidates": [asdict(candidate) for candidate in candidates],
        "sensitivity": [asdict(sensitivity) for sensitivity in sensitivities],
    }
    (folder / ASSIGNMENT).write_text(json.dumps(record, indent=1))
    from .plots import draw_pareto, draw_sensitivity  # matplotlib, which nothing else needs

    draw_sensitivity(sensitivities, chosen, folder / "sensitivity.png")
    draw_pareto(candidates, chosen, limits, folder / "pareto.png")
