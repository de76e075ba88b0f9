"""Latency benchmark: an engine beside the float engine and torch eager, in one run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn

from ...core.config import Config
from ...targets.base import EngineFile, Images, targets
from ..classifier import Classifier
from .ratios import Ratio, paired_ratio

BENCH = "bench.json"
PERCENTILES = (50, 90, 99)
# How often an engine is opened anew. Where its memory lies moves its latency by more than the calls of one opening
# differ: intervals from within one were ±0.5 %, while the ratio moved by 2 % from process to process.
_OPENINGS = 10

Runner = Callable[[Images], object]
Times = Mapping[str, np.ndarray]


class BenchConfig(Config):
    """How latency is measured.

    Attributes:
        batches: batch sizes.
        repeats: timed calls per subject and batch size.
        warmup: calls before, not timed.
        threads: threads of every runtime.
    """

    batches: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 32), min_length=1)
    repeats: int = Field(default=300, ge=10)
    warmup: int = Field(default=30, ge=1)
    threads: int = Field(default=1, ge=1)


def bench(
    engine: EngineFile,
    images: Images,
    config: BenchConfig,
    folder: Path,
    *,
    float_engine: EngineFile | None = None,
    eager: Classifier | None = None,
) -> None:
    """Write `bench.json`: latency percentiles in milliseconds, file sizes, and ratios to the engine.

    `latency_ratio` is how many times as long as the float engine the engine takes, by batch size, with the interval of
    `paired_ratio` over the openings.

    Args:
        engine: what ships.
        images: images to answer, repeated where a batch is larger.
        config: batch sizes and repeats.
        folder: where the file goes.
        float_engine: the float ONNX model on ONNX Runtime, for comparison.
        eager: the torch student, for comparison.
    """
    sizes = {"engine": engine.path.stat().st_size}
    if float_engine is not None:
        sizes["float"] = float_engine.path.stat().st_size
    if eager is not None:
        sizes["eager"] = eager.weights.stat().st_size
    engines = {"engine": engine} | ({} if float_engine is None else {"float": float_engine})
    part = config.model_copy(
        update={"repeats": ceil(config.repeats / _OPENINGS), "warmup": ceil(3 * config.warmup / _OPENINGS)}
    )
    network = None if eager is None else eager.load()
    openings: dict[int, list[Times]] = {batch: [] for batch in config.batches}
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    for _ in range(_OPENINGS):
        with ExitStack() as stack:
            runners: dict[str, Runner] = {
                name: stack.enter_context(targets[file.target].load(file, threads=config.threads))
                for name, file in engines.items()
            }
            if network is not None:
                runners["eager"] = eager_runner(network)
            for batch, found in openings.items():
                found.append(time_in_turn(runners, _batch(images, batch), part))
    torch.set_num_threads(before)
    latency = {batch: _percentiles(_joined(found)) for batch, found in openings.items()}
    result: dict[str, object] = {
        "threads": config.threads,
        "repeats": config.repeats,
        "size_bytes": sizes,
        "latency_ms": [
            {"subject": name, "batch": batch, **figures}
            for batch, by_name in latency.items()
            for name, figures in by_name.items()
        ],
        "times_slower_than_engine": {
            name: {str(batch): by_name[name]["p50"] / by_name["engine"]["p50"] for batch, by_name in latency.items()}
            for name in sizes
            if name != "engine"
        },
        "latency_ratio": {}
        if float_engine is None
        else {str(batch): vars(_ratio(found)) for batch, found in openings.items()},
        "warnings": _warnings(latency),
    }
    (folder / BENCH).write_text(json.dumps(result, indent=1))


def bench_ledger(
    networks: Mapping[str, Classifier],
    engines: Mapping[str, EngineFile],
    images: Images,
    config: BenchConfig,
    folder: Path,
) -> None:
    """Write `bench.json`: what every subject of the ledger weighs, and its latency beside all others.

    Args:
        networks: torch networks, timed in eager mode.
        engines: engines, those that do not ship included.
        images: images to answer.
        config: the first of its batch sizes is timed.
        folder: where the file goes.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    batch = config.batches[0]
    runners: dict[str, Runner] = {name: eager_runner(network.load()) for name, network in networks.items()}
    sizes = {name: network.weights.stat().st_size for name, network in networks.items()}
    for name, engine in engines.items():
        runners[name] = targets[engine.target].load(engine, threads=config.threads)
        sizes[name] = engine.path.stat().st_size
    latency = measure(runners, _batch(images, batch), config)
    torch.set_num_threads(before)
    found = {
        name: {"size_bytes": sizes[name], "latency_ms": {"batch": batch, **figures}}
        for name, figures in latency.items()
    }
    (folder / BENCH).write_text(json.dumps(found, indent=1))


def measure(runners: Mapping[str, Runner], images: Images, config: BenchConfig) -> dict[str, dict[str, float]]:
    """Time the runners in turn; return p50, p90 and p99 in milliseconds of each."""
    return _percentiles(time_in_turn(runners, images, config))


def time_in_turn(runners: Mapping[str, Runner], images: Images, config: BenchConfig) -> Times:
    """Time the runners, one call each a round, so that the machine's moods hit all alike.

    Returns milliseconds `[repeats]` of each, round by round.
    """
    for run in runners.values():
        for _ in range(config.warmup):
            run(images)
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(config.repeats):
        for name, run in runners.items():
            started = time.perf_counter()
            run(images)
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: np.array(values) for name, values in times.items()}


def _joined(openings: Sequence[Times]) -> Times:
    return {name: np.concatenate([times[name] for times in openings]) for name in openings[0]}


def _percentiles(times: Times) -> dict[str, dict[str, float]]:
    return {name: {f"p{q}": float(np.percentile(values, q)) for q in PERCENTILES} for name, values in times.items()}


def _ratio(openings: Sequence[Times]) -> Ratio:
    """How many times as long as the float engine the engine takes, by the medians of each opening."""
    engine, floating = (np.array([np.median(times[name]) for times in openings]) for name in ("engine", "float"))
    return paired_ratio(engine, floating)


def _batch(images: Images, size: int) -> Images:
    return np.ascontiguousarray(np.resize(images, (size, *images.shape[1:])))


def eager_runner(model: nn.Module) -> Runner:
    """Wrap a torch model as numpy in, numpy out, as `measure` times it."""

    @torch.inference_mode()
    def run(images: Images) -> object:
        return model(torch.from_numpy(images)).numpy()

    return run


def open_eager(classifier: Classifier, threads: int) -> Runner:
    """A torch network as people run it: an opener for `side_by_side`."""
    torch.set_num_threads(threads)
    return eager_runner(classifier.load())


def _warnings(latency: Mapping[int, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """At which batches the float engine answers sooner; devices run one image, servers many."""
    found = ((batch, by["engine"]["p50"], by["float"]["p50"]) for batch, by in latency.items() if "float" in by)
    return [
        f"the engine is {engine / other:.2f} times slower than the float engine at batch {batch} on this machine"
        for batch, engine, other in found
        if engine > other
    ]
