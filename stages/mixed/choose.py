"""Mixed-precision search: the cheapest assignment of precisions that is good enough (`mixed`, `auto`)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ...core.errors import StageError
from ...core.writing.scratch import scratch_folder
from ...targets.signature import read_signature
from ..quantize import calibrate
from ..quantize.precisions.base import FloatPrecision, Job
from ..quantize.precisions.int8 import Int8
from ..quantize.qdq import insert, prepare
from ..quantize.ranges import Range, activation_ranges
from ..twin import load_twin
from .assignment import Assignment, Built, build_candidate, choose, compare, good_enough
from .points import find_points
from .sensitivity import Sensitivity, measure_sensitivity

ASSIGNMENT = "assignment.json"


def assign(job: Job, *, others: Sequence[FloatPrecision] = ()) -> Assignment:
    """Write `model.onnx`, `calibration.json`, `assignment.json`, `sensitivity.png` and `pareto.png`.

    Layers are put back into float from the most sensitive on, a few more at a time; every assignment's engine is
    attacked on the validation split, and the fastest one that reaches the limits is taken.

    Args:
        job: the file, its target, and the limits: least `clean_accuracy`, `robust_accuracy` and `retention`.
        others: float precisions of the whole file that are tried as well.

    Raises:
        StageError: the quantizer or the target refuses the graph.
    """
    target, float_model, scheme = job.target, job.float_model, job.scheme
    assert target is not None, "measured precisions are made for a target"
    limits = dict(job.limits) or {"retention": job.search.retention}
    images = calibrate(job)
    twin = load_twin(float_model)
    points = find_points(twin, job.dataset.validation, job.threat, job.search)
    with torch.no_grad():
        floating = np.logical_and.reduce(
            [
                (np.asarray(twin(torch.from_numpy(part))).argmax(1) == points.labels)
                for part in (points.split.images, points.adversarial)
            ]
        )
    with scratch_folder() as scratch:
        prepared = scratch / "prepared.onnx"
        prepare(float_model, prepared)
        ends = read_signature(float_model)
        wide = (ends.input_name, ends.output_name)
        ranges = activation_ranges(prepared, ends.input_name, images, job.calibration, scheme, wide=wide)
        sensitivities = measure_sensitivity(prepared, ranges, scheme, points, progress=job.progress)
        built: list[Built] = []
        files = _files(job, prepared, scratch, others, ranges=ranges, sensitivities=sensitivities)
        for title, path, in_float in files:
            try:
                built.append(
                    build_candidate(
                        title,
                        path,
                        in_float,
                        target=target,
                        options=job.options,
                        points=points,
                        threat=job.threat,
                        config=job.search,
                    )
                )
            except StageError as error:
                job.notice(f"quantize: {title} cannot be built: {error}")
        if not built:
            raise StageError(f"quantize: the target {target.name!r} takes none of the candidates")
        candidates = compare(built, points, floating, job.search)
        chosen = choose(candidates, limits)
        shutil.copyfile(next(each.path for each in built if each.name == chosen.name), job.path)
        for each in built:
            each.engine.close()
    if not good_enough(chosen, limits):
        wanted = ", ".join(f"{figure} >= {limit:g}" for figure, limit in limits.items())
        job.notice(f"quantize: no assignment reaches {wanted} on the validation split; {chosen.name} comes nearest")
    job.describe(chosen.name)
    _record(
        job.folder,
        candidates,
        chosen,
        sensitivities,
        limits=limits,
        float_robust=float(floating.mean()),
        samples=len(points.split),
    )
    return chosen


def _files(
    job: Job,
    prepared: Path,
    scratch: Path,
    others: Sequence[FloatPrecision],
    *,
    ranges: Mapping[str, Range],
    sensitivities: list[Sensitivity],
) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    base = Int8().label(job.scheme)
    ordered = [each.layer for each in sorted(sensitivities, key=lambda each: -each.margin_drop)]
    for count in _counts(len(ordered)):
        kept = tuple(ordered[:count])
        path = scratch / f"mixed-{count}.onnx"
        insert(prepared, path, job.scheme, ranges, keep=kept)
        yield base + (f" but {count} of {len(ordered)} layers" if count else ""), path, kept
    for other in others:
        path = scratch / f"{other.name}.onnx"
        other.convert(job.float_model, path)
        yield other.name, path, tuple(ordered)


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
