"""Jobs in processes: all results come, the dead are noticed, and nothing is imported from the working directory."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
from edgeproof.core.errors import StageError
from edgeproof.core.process_pool import finished


def square(number: int) -> int:
    return number * number


def threads_and_process() -> tuple[str | None, int, str | None]:
    return os.environ.get("OMP_NUM_THREADS"), os.getpid(), os.environ.get("PYTHONSAFEPATH")


def die() -> int:
    os._exit(3)


def heard_by_a_group() -> int:
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(os.getpid(), number)
    return os.getpid()


def test_every_job_is_done_once_by_workers_of_one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    assert dict(finished([partial(square, number) for number in range(5)], 2, what="squares")) == {
        number: number**2 for number in range(5)
    }
    for _, (threads, process, safe) in finished([threads_and_process] * 2, 2, what="questions"):
        assert (threads, process == os.getpid(), safe) == ("1", False, "1")
    assert "PYTHONSAFEPATH" not in os.environ


def test_one_process_is_this_one():
    assert [found[1] for _, found in finished([threads_and_process] * 2, 1, what="questions")] == [os.getpid()] * 2
    assert list(finished([], 3, what="nothing")) == []


def test_what_a_worker_dies_of_is_done_carefully():
    jobs = [partial(square, 2), die]
    careful = [partial(square, 2), partial(square, 3)]
    assert dict(finished(jobs, 2, careful=careful, what="squares")) == {0: 4, 1: 9}
    with pytest.raises(StageError, match=r"^squares: a worker process died twice: "):
        list(finished([die, die], 2, what="squares"))


def test_workers_leave_the_signals_of_a_group_to_whom_they_work_for():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert os.getpid() not in dict(finished([heard_by_a_group] * 2, 2, what="signals")).values()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_a_reader_who_has_enough_leaves_the_rest(tmp_path: Path):
    jobs = [partial(square, number) for number in range(50)]
    running = finished(jobs, 2, what="squares")
    next(running)
    running.close()
    assert list(finished(jobs[:2], 1, what="squares")) == [(0, 0), (1, 1)]
