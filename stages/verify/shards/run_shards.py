"""The shards of an attack, over processes and machines; a finished one survives a kill."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, parallel_config

from ....core.errors import StageError, reason_of
from ....core.malloc import keep_freed_memory
from ....targets.process.orphan import end_with
from ....targets.process.safe_path import safe_children
from ..evidence.shard_result import ShardResult
from .workforce import Workforce

Job = Callable[[], ShardResult]


def run_shards(
    jobs: Sequence[Job],
    folder: Path,
    workforce: Workforce,
    *,
    careful: Sequence[Job] | None = None,
    enough: Callable[[Sequence[ShardResult]], bool] | None = None,
) -> list[ShardResult]:
    """Run the jobs whose shard file is not there yet.

    Args:
        jobs: one a shard.
        folder: where finished shards lie, for all machines to see.
        workforce: who runs them.
        careful: the same jobs, slower, but no danger to the process they run in: for this process, and for what is
            left once a worker has died.
        enough: says of the first results whether the others are needed; on a single machine only.

    Returns:
        All results in order, or the first that are enough.

    Raises:
        StageError: a worker died for good, or what another machine should have done is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04d}.npz" for number in range(len(jobs))]
    done = {path: ShardResult.load(path) for path in paths if path.exists()}
    missing = [path for path in workforce.machines.part(paths) if path not in done]

    def report() -> None:
        robust = sum(int(result.robust.sum()) for result in done.values())
        workforce.progress(len(done), len(jobs), sum(len(result.split) for result in done.values()), robust)

    seen = 0

    def complete() -> bool:
        # Looked at in order, one more at a time: what is enough depends neither on workers nor on a kill.
        nonlocal seen
        while enough is not None and seen < len(paths) and paths[seen] in done:
            seen += 1
            if enough([done[path] for path in paths[:seen]]):
                return True
        return False

    def run(jobs: Sequence[Job], processes: int) -> None:
        todo = [delayed(_filed)(path, jobs[paths.index(path)], os.getpid()) for path in missing if path not in done]
        with parallel_config(backend="loky", inner_max_num_threads=1), safe_children():
            finished: Any = Parallel(n_jobs=processes, return_as="generator_unordered", max_nbytes=None)(todo)
            for path, result in finished:
                result.save(path)
                done[path] = result
                report()
                if complete():
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # that it cancels what runs, which is the point
                        finished.close()
                    return

    report()
    if not complete():
        careful = jobs if careful is None else careful
        # One is this very process, so that a debugger and small jobs stay simple.
        processes = min(workforce.workers, max(len(missing), 1))
        try:
            try:
                run(jobs if processes > 1 else careful, processes)
            except BrokenProcessPool:
                run(careful, processes)
        except BrokenProcessPool as error:
            raise StageError(f"{folder}: a worker process died twice: {reason_of(error)}") from None
    if enough is not None:
        return [done[path] for path in paths[:seen]]
    workforce.machines.meet()
    for path in paths:
        if path not in done and not path.exists():
            raise StageError(f"{path}: another machine did not write it; all must see its folder and run the same code")
    return [done[path] if path in done else ShardResult.load(path) for path in paths]


def _filed(path: Path, job: Callable[[], ShardResult], parent: int) -> tuple[Path, ShardResult]:
    end_with(parent)
    keep_freed_memory()
    return path, job()
