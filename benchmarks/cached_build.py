"""What a build costs that has nothing to do: CPU seconds, beside a fresh build and beside importing torch.

    OMP_NUM_THREADS=1 python benchmarks/cached_build.py --rounds 3

fresh: from nothing. cached: every stage is in the store, and the request is new (a default is written out). shared:
likewise, in a new folder, from a store that runs share. finished: the same request again. The last four are taken in
turn, and the median is told.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

RECIPE = Path(__file__).parents[1] / "examples" / "digits.yaml"
SMALL = (
    "teacher.train.epochs=2",
    "distill.epochs=3",
    "verify.samples=24",
    "verify.shard_size=24",
    "verify.square_queries=50",
    "verify.backward=[relu]",
    "verify.isolate=false",
    "bench.repeats=20",
    "gates={clean_accuracy: '>= 0.5'}",
)


def cpu_seconds(command: Sequence[str | Path]) -> float:
    """Of a command and of all processes that it starts and waits for.

    Raises:
        CalledProcessError: it ended with another code than 0.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def build(store: Path, out: Path, *overrides: str) -> float:
    """CPU seconds of the small build."""
    settings = [part for override in (*SMALL, *overrides) for part in ("--set", override)]
    arguments = ["-m", "edgeproof", "build", RECIPE, "--out", out, "--store", store, "--workers", "1", *settings]
    return cpu_seconds(arguments)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found: dict[str, list[float]] = {"fresh": [], "cached": [], "shared": [], "finished": [], "import torch": []}
    with tempfile.TemporaryDirectory() as scratch:
        store, run = Path(scratch) / "store", Path(scratch) / "run"
        found["fresh"].append(build(store, run))
        for number in range(rounds):
            written_out = ("verify.seed=0",) if number % 2 == 0 else ()
            found["cached"].append(build(store, run, *written_out))
            found["shared"].append(build(store, Path(scratch) / str(number)))
            found["finished"].append(build(store, run, *written_out))
            found["import torch"].append(cpu_seconds(["-c", "import torch"]))
    for name, seconds in found.items():
        print(f"{name:12}  {statistics.median(seconds):6.2f} s CPU  ({', '.join(f'{each:.2f}' for each in seconds)})")


if __name__ == "__main__":
    main()
