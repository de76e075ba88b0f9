"""Jobs in processes, one thread each: on a CPU, many small networks side by side beat one on all cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch
from edgeproof.core.memory import keep_freed_memory
from edgeproof.core.orphan import end_with
from rich.console import Console


def in_parallel(jobs: Mapping[str, Callable[[], str | None]], workers: int, console: Console) -> int:
    """Run jobs in processes, say what each returns as it ends, and return how many failed."""
    failed, started = 0, time.time()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)) as (
        pool
    ):
        running = {pool.submit(job): name for name, job in jobs.items()}
        for number, future in enumerate(as_completed(running), 1):
            error = future.exception()
            failed += error is not None
            said = (future.result() or "done") if error is None else f"failed: {error!r}"
            minutes = (time.time() - started) / 60
            line = f"{number}/{len(jobs)} after {minutes:.0f} min: {running[future]}: {said}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return failed


def one_thread() -> None:
    """Leave the other cores to the other jobs."""
    keep_freed_memory()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)


def _begin(parent: int) -> None:
    end_with(parent)
    one_thread()
