"""`edgeproof bench`: time engine files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..stages.bench import BenchConfig, measure
from ..targets.base import EngineFile, targets
from ..targets.errors import UsageError
from ..targets.signature import read_signature
from .store import machine


def bench_file(
    engine: Path,
    target: str,
    *,
    against: Path | None,
    batches: tuple[int, ...],
    repeats: int,
    threads: int,
) -> dict[str, Any]:
    """Time an engine file, and another one in turn when given.

    Returns:
        latency percentiles in milliseconds per file and batch size, sizes, and the ratio of the medians.

    Raises:
        UsageError: a file is missing or no image classifier, or the two take different images.
    """
    config = BenchConfig(batches=batches, repeats=repeats, threads=threads)
    shape = read_signature(engine).image_shape
    files = {str(engine): engine, **({} if against is None else {str(against): against})}
    if against is not None and read_signature(against).image_shape != shape:
        raise UsageError(f"{against}: takes other images than {engine}, they cannot be compared")
    runners = {name: targets[target].load(EngineFile.of(target, path), threads=threads) for name, path in files.items()}
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for batch in batches:
        images = rng.random((batch, *shape), np.float32)
        figures = measure(runners, images, config)
        rows += [{"file": name, "batch": batch, **figures[name]} for name in runners]
    result: dict[str, Any] = {
        "target": target,
        "threads": threads,
        "repeats": repeats,
        "machine": machine(),
        "size_bytes": {name: path.stat().st_size for name, path in files.items()},
        "latency_ms": rows,
    }
    if against is not None:
        p50 = {(row["file"], row["batch"]): row["p50"] for row in rows}
        result["ratio_to_against"] = {
            str(batch): p50[str(engine), batch] / p50[str(against), batch] for batch in batches
        }
    return result


def show_bench(result: Mapping[str, Any], console: Console) -> None:
    """Print what `bench_file` measured."""
    table = Table(
        "file",
        "size",
        "batch",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        title=f"{result['target']}, {result['threads']} thread(s)",
    )
    for row in result["latency_ms"]:
        size = f"{result['size_bytes'][row['file']] / 1024:.1f} KiB"
        figures = (f"{row[name]:.4f}" for name in ("p50", "p90", "p99"))
        table.add_row(row["file"], size, str(row["batch"]), *figures)
    console.print(table)
    for batch, ratio in result.get("ratio_to_against", {}).items():
        console.print(f"batch {batch}: {ratio:.2f} times the latency of the other", highlight=False)
