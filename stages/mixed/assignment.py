"""Precision assignment: built for its target, attacked on the validation split, and timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...targets.base import Engine, Target, TargetOptions
from ..latency.bench import BenchConfig, measure
from ..quantize.search_config import SearchConfig
from ..threat import ThreatModel
from ..twin import load_twin
from ..verify.subject.engine_module import AttackableEngine
from .points import Points, survivors

_REPEATS = 200


@dataclass(frozen=True)
class Assignment:
    """An assignment and what it comes to; accuracies are the validation split's and only compare.

    Attributes:
        name: `int8`, `int8 but 3 layers`, `fp16`, `fp32`.
        in_float: layers that are not quantized.
        clean_accuracy: on the clean points.
        robust_accuracy: after PGD on the engine and the float model's examples, worst case per sample.
        retention: that over the float model's.
        latency_ms: median, measured beside all others.
        size_bytes: of the ONNX file.
    """

    name: str
    in_float: tuple[str, ...]
    clean_accuracy: float
    robust_accuracy: float
    retention: float
    latency_ms: float
    size_bytes: int


@dataclass
class Built:
    """A candidate's file and engine, and its accuracies."""

    name: str
    in_float: tuple[str, ...]
    path: Path
    engine: Engine
    clean_accuracy: float
    robust: np.ndarray


def build_candidate(
    name: str,
    path: Path,
    in_float: tuple[str, ...],
    *,
    target: Target,
    points: Points,
    threat: ThreatModel,
    config: SearchConfig,
    options: TargetOptions | None = None,
) -> Built:
    """Build a file's engine and attack it: by PGD through its twin, and with the float model's examples.

    An image is lost if any point that PGD visits fools the engine.
    """
    engine = target.load(target.build(path, path.parent / f"{path.stem}-engine", options=options))
    twin = load_twin(path)
    if twin.coarse:
        twin.backward = "smooth"
    clean, robust = survivors(AttackableEngine(engine, twin), points.split, threat, config)
    replayed = engine(points.adversarial).argmax(1) == points.labels
    return Built(name, in_float, path, engine, float(clean.mean()), robust & replayed)


def compare(built: list[Built], points: Points, floating: np.ndarray, config: SearchConfig) -> list[Assignment]:
    """Time all candidates in turn, one call each a round.

    Args:
        built: the candidates.
        points: their images.
        floating: `[N]` which samples the float model withstands.
        config: the batch size.
    """
    images = np.ascontiguousarray(np.resize(points.split.images, (config.batch, *points.split.images.shape[1:])))
    times = measure({candidate.name: candidate.engine for candidate in built}, images, BenchConfig(repeats=_REPEATS))
    base = max(float(floating.mean()), 1e-12)
    return [
        Assignment(
            candidate.name,
            candidate.in_float,
            candidate.clean_accuracy,
            float(candidate.robust.mean()),
            float(candidate.robust.mean()) / base,
            times[candidate.name]["p50"],
            candidate.path.stat().st_size,
        )
        for candidate in built
    ]


def good_enough(candidate: Assignment, limits: Mapping[str, float]) -> bool:
    """Whether a candidate's figures reach all limits."""
    return all(getattr(candidate, figure) >= limit for figure, limit in limits.items())


def choose(candidates: list[Assignment], limits: Mapping[str, float]) -> Assignment:
    """The fastest candidate that is good enough; where none is, the most robust one."""
    fine = [candidate for candidate in candidates if good_enough(candidate, limits)]
    if fine:
        return min(fine, key=lambda candidate: candidate.latency_ms)
    return max(candidates, key=lambda candidate: (candidate.robust_accuracy, -candidate.latency_ms))
