"""Process pool of shards, over processes and machines; a finished shard survives a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from ....core.errors import StageError
from ....core.process_pool import finished
from ..evidence.shard_result import ShardResult
from ..position import Position, told
from .workforce import Workforce, untold

Job = Callable[[], ShardResult]
# Seconds between two reports.
_OFTEN = 0.5


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
        running = [found for path in telling if (found := Position.read(path)) is not None]
        ended = list(done.values())
        robust = sum(int(result.robust.sum()) for result in ended)
        workforce.progress(len(ended), len(jobs), sum(len(result.split) for result in ended), robust, running)

    telling: list[Path] = []
    seen = 0

    def complete() -> bool:
        # Looked at in order, one more at a time: what is enough depends neither on workers nor on a kill.
        nonlocal seen
        while enough is not None and seen < len(paths) and paths[seen] in done:
            seen += 1
            if enough([done[path] for path in paths[:seen]]):
                return True
        return False

    report()
    if not complete():
        places = [number for number, path in enumerate(paths) if path in missing]
        todo, safe = ([given[number] for number in places] for given in (jobs, jobs if careful is None else careful))
        if workforce.progress is not untold:
            telling += [paths[number].with_suffix(".position") for number in places]
            for left in telling:  # by a kill
                left.unlink(missing_ok=True)
            todo, safe = (list(map(_Told, given, telling)) for given in (todo, safe))
        with (
            _again_and_again(report) if telling else nullcontext(),
            closing(finished(todo, workforce.workers, careful=safe, what=str(folder))) as results,
        ):
            for place, result in results:
                path = paths[places[place]]
                result.save(path)
                done[path] = result
                report()
                if complete():
                    break
    if enough is not None:
        return [done[path] for path in paths[:seen]]
    workforce.machines.meet()
    for path in paths:
        if path not in done and not path.exists():
            raise StageError(f"{path}: another machine did not write it; all must see its folder and run the same code")
    return [done[path] if path in done else ShardResult.load(path) for path in paths]


@dataclass(frozen=True)
class _Told:
    """A job that tells its position in a file."""

    job: Job
    path: Path

    def __call__(self) -> ShardResult:
        with told(self.path):
            return self.job()


@contextmanager
def _again_and_again(report: Callable[[], None]) -> Iterator[None]:
    """Report meanwhile, from a thread of its own."""
    ended = Event()

    def look() -> None:
        while not ended.wait(_OFTEN):
            report()

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
