"""Benchmark of engine files side by side, each in a process of its own (`edgeproof bench`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from ...core.errors import UsageError
from ...core.model_file import digest_of, engine_files
from ...core.reading.counted import counted
from ...core.writing.scratch import scratch_folder
from ...stages.adapt import AdapterConfig, adapt_to_itself
from ...stages.latency.bench import PERCENTILES
from ...stages.latency.ratios import METHOD, paired_ratio
from ...stages.latency.timing import ROUNDS, SideBySide, side_by_side
from ...targets.base import EngineFile, targets
from ...targets.option_values import read_options
from ...targets.process.cores import physical_cores
from ...targets.process.own_process import open_engine
from ...targets.signature import ModelSignature, read_signature
from ..progress import Reporter
from ..recipe.validation_errors import checked
from ..request.arguments import option
from ..store.machine import machine

# Of the cores' time; more of it taken by others, and the times are theirs as well.
_QUIET = 0.05
_SPEC = re.compile(r"(?P<target>\w+)(\[(?P<options>[^\]]*)\])?:(?P<file>.+)")


@dataclass(frozen=True)
class Contender:
    """An engine that is timed, as the user named it."""

    name: str
    given: Path
    engine: EngineFile
    signature: ModelSignature

    @classmethod
    def of(cls, text: str, target: str, options: Sequence[str], adapter: AdapterConfig, scratch: Path) -> Contender:
        """Read `FILE`, `TARGET:FILE` or `TARGET[name=value,...]:FILE`.

        Args:
            text: what the user wrote.
            target: the runtime where it names none; `options` are that one's.
            options: `name=value` each.
            adapter: what an ONNX file wants of its images.
            scratch: a folder for the file with its adapter around it, which is then what is timed.

        Raises:
            UsageError: the file is missing or no image classifier, or there is no such target or option.
            BackendMissing: the runtime is not installed.
        """
        found = _SPEC.fullmatch(text)
        path = Path(text)
        if found is not None and not path.exists():
            target, path = found["target"], Path(found["file"])
            options = [each.strip() for each in (found["options"] or "").split(",") if each.strip()]
        with option(f"{text}: "):
            runtime = targets[target]
            runtime.check_available()
            if not path.is_file():
                raise UsageError("no such file")
            chosen = read_options(runtime.options, options)
        runs = path
        if path.suffix == ".onnx":
            adapted = adapt_to_itself(path, adapter)
            if adapted is not None:
                runs = scratch / f"{len(list(scratch.iterdir()))}.onnx"
                adapted.save(runs)
        engine = EngineFile.of(target, runs, chosen)
        if path.suffix == ".onnx":
            return cls(text, path, engine, read_signature(runs))
        with runtime.load(engine) as loaded:
            return cls(text, path, engine, loaded.signature)


def bench_files(
    engine: str | Path,
    *,
    target: str = "onnxruntime",
    options: Sequence[str] = (),
    against: Sequence[str] = (),
    batches: Sequence[Annotated[int, Field(ge=1)]] = (1, 32),
    repeats: Annotated[int, Field(ge=10)] = 300,
    threads: Annotated[int, Field(ge=1)] = 1,
    adapter: AdapterConfig | Mapping[str, Any] | None = None,
    plot: Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Time engines side by side.

    Args:
        engine: what to time: an engine or ONNX `FILE`, `TARGET:FILE`, or `TARGET[name=value,...]:FILE`.
        target: the runtime of files that are named without one.
        options: an option of the target, such as `hint=throughput`, for the first engine where it names no target.
        against: another engine, written likewise, timed in turn; ratios are to the first.
        batches: a batch size (default: 1 and 32).
        repeats: timed calls of each engine and batch size, at least.
        threads: threads of each runtime; each process is kept on as many cores.
        adapter: what the ONNX files want of their images, where that cannot be found from them.
        plot: draw the latencies into this picture.
        reporter: where progress goes.

    Returns:
        `{threads, cores, repeats, rounds, interval, others, machine, engines, ratios, warnings}`: of each engine its
        name, target, options, file, digest, size, notes, cold start and opening in seconds, peak memory in bytes, and
        per batch size its latency percentiles in milliseconds and its images a second, one batch at a time; `ratios`
        say how many times as long the others take as the first; `others` is the share of the cores' time that other
        processes took.

    Raises:
        UsageError: see `Contender.of`; or the engines take different images.
        BackendMissing: a runtime is not installed.
    """
    reporter = reporter or Reporter(quiet=True)
    said = checked(AdapterConfig, adapter or {}, "--")
    with scratch_folder() as scratch:
        asked = [(str(engine), options), *((each, ()) for each in against)]
        contenders = [Contender.of(text, target, chosen, said, scratch) for text, chosen in asked]
        result = _side_by_side(contenders, batches, threads, repeats, reporter)
    if plot is not None:
        from .bench_plot import draw_latencies

        draw_latencies(result, plot)
    return result


def _side_by_side(
    contenders: Sequence[Contender], batches: Sequence[int], threads: int, repeats: int, reporter: Reporter
) -> dict[str, Any]:
    first, batches = contenders[0], tuple(dict.fromkeys(batches))
    for other in contenders[1:]:
        if other.signature.image_shape != first.signature.image_shape:
            raise UsageError(f"{other.name}: takes other images than {first.name}, they cannot be compared")
    if len(contenders) > len(ascii_uppercase):
        raise UsageError(f"at most {len(ascii_uppercase)} engines side by side")
    if len({each.name for each in contenders}) < len(contenders):
        raise UsageError("an engine is named twice; it would be compared with itself")
    rng = np.random.default_rng(0)
    images = {size: rng.random((size, *first.signature.image_shape), np.float32) for size in batches}
    openers = {each.name: partial(open_engine, each.engine, threads) for each in contenders}
    with reporter.stage("bench") as bar:
        measured = side_by_side(openers, images, threads=threads, repeats=repeats, warmup=30, progress=bar.count)
    return {
        "threads": threads,
        "cores": list(measured.models[first.name].opened.cores),
        "repeats": repeats,
        "rounds": ROUNDS,
        "interval": METHOD,
        "others": measured.others,
        "machine": machine(),
        "engines": [_figures(each, measured) for each in contenders],
        "ratios": _ratios([each.name for each in contenders], measured),
        "warnings": _warnings(measured, threads),
    }


def _figures(contender: Contender, measured: SideBySide) -> dict[str, Any]:
    found, engine = measured.models[contender.name], contender.engine
    before, peak = found.memory
    return {
        "name": contender.name,
        "target": engine.target,
        "options": dict(engine.options),
        "file": str(contender.given),
        "sha256": digest_of(contender.given),
        "size_bytes": sum(file.stat().st_size for file in engine_files(contender.given)),
        "notes": list(found.opened.notes),
        "cold_start_s": found.cold_start,
        "opening_s": found.opened.seconds,
        "memory_bytes": {"before": before, "peak": peak},
        "latency_ms": [
            {
                "batch": size,
                **{f"p{q}": timing.percentile(q) for q in PERCENTILES},
                "images_per_second": 1000 * size * len(timing.calls) / float(timing.calls.sum()),
                "calls": len(timing.calls),
            }
            for size, timing in found.timings.items()
        ],
    }


def _ratios(names: Sequence[str], measured: SideBySide) -> list[dict[str, Any]]:
    first = measured.models[names[0]]
    return [
        {
            "engine": name,
            "against": names[0],
            "batch": size,
            **vars(paired_ratio(measured.models[name].timings[size].medians, timing.medians)),
        }
        for name in names[1:]
        for size, timing in first.timings.items()
    ]


def _warnings(measured: SideBySide, threads: int) -> list[str]:
    found: list[str] = []
    if measured.others is not None and measured.others > _QUIET:
        found.append(
            f"other processes took {100 * measured.others:.0f} % of the cores meanwhile: "
            "the ratios hold better than the times"
        )
    cores = next(iter(measured.models.values())).opened.cores
    if not cores:
        found.append("this system keeps no process on chosen cores: the times include moves between them")
    elif len(cores) < threads:
        found.append(f"{threads} threads share the {len(physical_cores())} cores there are")
    return found


def show_bench(result: Mapping[str, Any], console: Any) -> None:
    """Print what `bench_files` measured."""
    from rich.table import Table

    cores = ", ".join(map(str, result["cores"])) or "any"
    table = Table(
        title=f"{counted(result['threads'], 'thread')} each, on cores {cores}; {result['rounds']} rounds in turn"
    )
    for column in ("engine", "batch", "p50 ms", "p90 ms", "p99 ms", "images/s", "times as long as A"):
        table.add_column(column, justify="right")
    ratios = {(each["engine"], each["batch"]): each for each in result["ratios"]}
    letters = dict(zip((engine["name"] for engine in result["engines"]), ascii_uppercase, strict=False))
    for engine in result["engines"]:
        for row in engine["latency_ms"]:
            ratio = ratios.get((engine["name"], row["batch"]))
            told = "" if ratio is None else f"{ratio['ratio']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
            times = (f"{row[f'p{q}']:.4g}" for q in PERCENTILES)
            table.add_row(letters[engine["name"]], str(row["batch"]), *times, f"{row['images_per_second']:,.0f}", told)
    console.print(table, markup=False)
    for engine in result["engines"]:
        memory = engine["memory_bytes"]
        lines = [
            f"{letters[engine['name']]}  {engine['name']}: file {engine['size_bytes'] / 2**20:.2f} MiB, "
            f"cold start {engine['cold_start_s']:.2f} s, peak memory {memory['peak'] / 2**20:.0f} MiB "
            f"({memory['before'] / 2**20:.0f} before the runtime)",
            *(f"   {note}" for note in engine["notes"]),
        ]
        console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    if result["ratios"]:
        console.print(f"interval: {result['interval']}", highlight=False, soft_wrap=True)
    for warning in result["warnings"]:
        console.print(warning, style="yellow", highlight=False, soft_wrap=True)
