"""Process pool: jobs side by side, one thread each, in workers that end with whom they work for."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from .errors import StageError, reason_of
from .memory import end_quickly, keep_freed_memory
from .orphan import end_with
from .safe_path import safe_children
from .user_modules import Place, adopt
from .user_modules import place as place_of_modules
from .writing.scratch import scratch_folder

T = TypeVar("T")


def finished(
    jobs: Sequence[Callable[[], T]],
    processes: int,
    *,
    what: str,
    careful: Sequence[Callable[[], T]] | None = None,
) -> Generator[tuple[int, T], None, None]:
    """Run jobs, and yield the place and the result of each as it ends; closing the iterator ends the rest.

    Args:
        jobs: picklable.
        processes: how many work; one is this very process, so that a debugger and small jobs stay simple.
        what: what they are for, for messages.
        careful: the same jobs, slower, but no danger to the process they run in: for this process, and for what is
            left once a worker has died.

    Raises:
        StageError: a worker died for good.
    """
    careful = jobs if careful is None else careful
    left = set(range(len(jobs)))
    processes = min(processes, max(len(jobs), 1))
    for attempt in (jobs if processes > 1 else careful, careful):
        try:
            for place, result in _run({place: attempt[place] for place in sorted(left)}, processes):
                left.remove(place)
                yield place, result
            return
        except BrokenProcessPool as error:
            died = error
    raise StageError(f"{what}: a worker process died twice: {reason_of(died)}") from None


def _run(jobs: Mapping[int, Callable[[], T]], processes: int) -> Generator[tuple[int, T], None, None]:
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.backend import resource_tracker

    beside = place_of_modules()
    todo = [delayed(_job)(place, job, os.getpid(), beside) for place, job in jobs.items()]
    # Its own folder would be one in /dev/shm, which stays there where everybody is killed at once.
    with (
        scratch_folder() as scratch,
        parallel_config(backend="loky", inner_max_num_threads=1, temp_folder=str(scratch)),
        safe_children(),
    ):
        with _deaf_children():
            resource_tracker.ensure_running()
            results: Any = Parallel(n_jobs=processes, return_as="generator_unordered", max_nbytes=None)(todo)
        try:
            # Not `yield from`, which would close it before the warning is off.
            for each in results:  # noqa: UP028
                yield each
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it cancels what runs, which is the point
                results.close()


@contextmanager
def _deaf_children() -> Iterator[None]:
    """What starts meanwhile hears neither Ctrl-C nor a hangup, which reach a whole group: this process ends its own.

    Who hears them while still importing says so in a traceback. One that comes meanwhile waits, and is not lost.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _job(place: int, job: Callable[[], T], parent: int, beside: Place) -> tuple[int, T]:
    end_with(parent)
    adopt(beside)
    if os.getpid() != parent:
        end_quickly()
        # Blocked they are from the start; whatever starts Python's own resource tracker unblocks them again.
        for name in ("SIGINT", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
    keep_freed_memory()
    return place, job()
