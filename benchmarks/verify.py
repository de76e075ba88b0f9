"""What `edgeproof verify` takes, and finds, beside AutoAttack standard run on the same engine and samples.

    python benchmarks/verify.py                                    # int8 engine of the tests' student, all digits
    python benchmarks/verify.py --float --rounds 1 --samples 300
    python benchmarks/verify.py --model student.onnx --dataset fashion_mnist --data-root DATA --samples 1000

Subjects run in turn, each once a round, so that the machine's moods hit all alike; ratios are taken within a round:

- plain: pyautoattack's `AutoAttack(version="standard")` on an `AttackableEngine` (the engine in the same process, the
  twin's `relu` gradients), one process, torch with a thread a core, the engine with one (as `load` opens it; two
  pools of threads fight over the cores), batches of `--batch`: what a user would write;
- sharded: the same over worker processes with one thread each, on the very shards of the row below;
- same attacks: edgeproof with the same four attacks and no others, by routes `whitebox` (mode `relu`) and `square`,
  with the checks of every shard;
- verify: `edgeproof.verify` with its defaults: all backward modes, the probe, report and adversarial pack;
- gate: the same, sequential, for a gate on the robust accuracy that lies `--margin` below what the plain run found, or
  above it where nothing is below; it decides about the whole test split, from at most the same number of samples. Where
  that is larger than what the plain run attacked, its time is also compared to the plain run's times as many images.

Processes are warm before the clock starts. Loading the engine counts, in every row. A sample on which a row is more
robust than the plain run is one that the plain run broke and the row did not; it is confirmed where the plain run's
image, put back into the ball, fools the engine asked alone. AutoAttack seeds every batch anew, so the random starts of
a sample depend on the samples beside it: what "sharded", the same code, differs from "plain" says how much that is.
"verdict moved" counts samples that did not come out alike in all rounds.

Below, seconds by attack; over several processes, their sum. Those of edgeproof are of one more run, untimed above, in
which the four attacks are routes of their own. For data with at least ten classes, as AutoAttack standard is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from edgeproof.pipeline.request.arguments import data_config, threat_model
from edgeproof.stages.data import load_dataset
from edgeproof.stages.verify import VerifyConfig, default_workers, sample
from edgeproof.stages.verify.attacks.autoattack import STANDARD
from edgeproof.targets.base import EngineFile
from rich.console import Console
from tests_student import tests_student
from verify_runs import Job, Run, plain, processes, same_attacks, sharded, warm_up, whole
from verify_table import GATE, PLAIN, ROWS, SAME, SHARDED, VERIFY, show, summarize


def measure(job: Job, rows: Sequence[str], rounds: int, console: Console) -> tuple[dict[str, list[Run]], Run]:
    """Run every row once a round; then, for the shares, the four attacks as routes of their own."""
    runs: dict[str, list[Run]] = {name: [] for name in rows}
    with ExitStack() as stack:
        alone = stack.enter_context(processes(1, job.threads))
        side_by_side = stack.enter_context(processes(job.workers, 1))

        def gate() -> Run:
            truth = float(runs[PLAIN][0].robust.mean())
            limit = truth - job.margin if 0 < truth - job.margin < 1 else truth + job.margin  # others hold at once
            return whole(job, f"robust_accuracy >= {limit:.4g}")

        subjects: dict[str, Callable[[], Run]] = {
            PLAIN: partial(plain, job, alone),
            SHARDED: partial(sharded, job, side_by_side),
            SAME: partial(same_attacks, job),
            VERIFY: partial(whole, job),
            GATE: gate,
        }
        for number in range(rounds):
            for name in rows:
                warm_up(job.workers)
                started = time.perf_counter()
                run = subjects[name]()
                run.wall = time.perf_counter() - started
                runs[name].append(run)
                console.print(
                    f"round {number + 1}, {name}: {run.wall:.1f} s, robust {run.robust.mean():.3f} "
                    f"of {len(run.robust)} {run.note}",
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )
        return runs, same_attacks(job, STANDARD)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", type=Path, help="an ONNX file (default: the tests' student, int8)")
    parser.add_argument("--float", action="store_true", help="without --model: the float engine too")
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--norm", default="Linf")
    parser.add_argument("--eps", default="0.1")
    parser.add_argument("--samples", type=int, help="test images (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=default_workers(), help="processes with one thread each")
    parser.add_argument("--threads", type=int, default=default_workers(), help="torch's, in the plain run")
    parser.add_argument("--engine-threads", type=int, default=1, help="the engine's, in the plain run")
    parser.add_argument("--batch", type=int, default=250, help="batch of the plain run")
    parser.add_argument("--shard-size", type=int, help=f"not of {VERIFY}, {GATE}")
    parser.add_argument("--margin", type=float, default=0.1, help="how far below the plain run's figure the gate lies")
    parser.add_argument("--only", help=f"comma-separated rows of: {', '.join(ROWS)}; {PLAIN} always runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = ROWS if arguments.only is None else (PLAIN, *(set(arguments.only.split(",")) - {PLAIN}))
    if unknown := set(rows) - set(ROWS):
        parser.error(f"--only: unknown: {', '.join(sorted(unknown))}")
    console = Console(width=150, stderr=arguments.json)
    data = data_config(arguments.dataset, arguments.data_root)
    config = VerifyConfig(samples=arguments.samples, seed=arguments.seed, shard_size=arguments.shard_size)
    test = load_dataset(data).test
    split = sample(test, config)
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in arguments.model or tests_student(Path(scratch), floating=arguments.float):
            job = Job(
                EngineFile.of(arguments.target, path.resolve()),
                data,
                threat_model(arguments.norm, arguments.eps),
                config,
                split,
                len(test),
                arguments.workers,
                arguments.threads,
                arguments.engine_threads,
                arguments.batch,
                arguments.margin,
            )
            runs, by_attack = measure(job, [name for name in ROWS if name in rows], arguments.rounds, console)
            results.append(summarize(job, runs, by_attack))
            if not arguments.json:
                show(results[-1], console)
    if arguments.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
