"""What an int8 engine weighs and how fast it answers, beside the float engine and torch eager.

    python benchmarks/engines.py                         # 32x32 ResNet-18 and MobileNetV2, batch 1
    python benchmarks/engines.py --model resnet18 --threads 1 --batch 8
    python benchmarks/engines.py --model resnet18 --apart

Every subject answers in turn, one call each a round, so that the machine's moods hit all alike. With several threads
that is unfair: those of one runtime spin while the next one's work. `--apart` times each in a process of its own, in
turn all the same, several processes each. The weights are random: neither size nor time depends on them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from edgeproof.stages.bench import BenchConfig, eager_runner, measure
from edgeproof.stages.data import Dataset, Split
from edgeproof.stages.export import export_onnx
from edgeproof.stages.models import build_model
from edgeproof.stages.quantize import MODEL, QuantizeConfig, quantize_student
from edgeproof.stages.threat import ThreatModel
from edgeproof.targets.base import EngineFile, Images, targets
from rich.console import Console
from rich.table import Table

SHAPE, CLASSES = (3, 32, 32), 10
PROCESSES = 5
FLOAT, EAGER = "onnxruntime fp32", "torch eager"
PRECISIONS = {"fp32": {"precision": "fp32"}, "int8": {}, "w4a8": {"weight_bits": 4}}


def random_data(count: int = 64) -> Dataset:
    """Images of the right shape."""
    rng = np.random.default_rng(0)
    images = rng.random((count, *SHAPE), dtype=np.float32)
    split = Split(images, np.arange(count, dtype=np.int64) % CLASSES, np.arange(count, dtype=np.int64))
    return Dataset("random", tuple(map(str, range(CLASSES))), split, split, split)


def timed(
    name: str, engines: dict[str, EngineFile], labels: Iterable[str], threads: int, batch: int, repeats: int
) -> dict[str, dict[str, float]]:
    """Time some subjects in turn, in this process."""
    runners: dict[str, Callable[[Images], object]] = {}
    for label in labels:
        if label == EAGER:
            runners[label] = eager_runner(build_model(name, SHAPE, CLASSES, seed=0).eval())
        else:
            runners[label] = targets[engines[label].target].load(engines[label], threads=threads)
    torch.set_num_threads(threads)
    images = np.ascontiguousarray(np.resize(random_data().test.images, (batch, *SHAPE)))
    return measure(runners, images, BenchConfig(repeats=repeats, warmup=30))


def in_own_process(
    name: str, engines: dict[str, EngineFile], threads: int, batch: int, label: str, repeats: int
) -> dict[str, float]:
    """Time one subject where no other runs."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(timed, name, engines, [label], threads, batch, repeats).result()[label]


def compare(name: str, arguments: argparse.Namespace, folder: Path, console: Console) -> None:
    """Build every engine of a model, time them, and print the table."""
    threads, batch, repeats = arguments.threads, arguments.batch, arguments.repeats
    data, threat = random_data(), ThreatModel.model_validate({"norm": "Linf", "eps": "8/255"})
    model = build_model(name, SHAPE, CLASSES, seed=0).eval()
    floating = folder / "float.onnx"
    export_onnx(model, SHAPE, floating, opset=18)
    sizes: dict[str, int] = {}
    engines: dict[str, EngineFile] = {}
    for target in targets.names():
        if not targets[target].available().available:
            console.print(f"{target}: {targets[target].available().reason}", highlight=False)
            continue
        for precision, settings in PRECISIONS.items():
            label = f"{target} {precision}"
            out = folder / label
            out.mkdir()
            config = QuantizeConfig.model_validate({**settings, "calibration": {"samples": 32}})
            quantize_student(floating, config, targets[target].scheme, data, threat, out)
            sizes[label] = (out / MODEL).stat().st_size
            engines[label] = EngineFile.of(target, out / MODEL)
    subjects = (EAGER, *engines)
    if arguments.apart:
        alone = partial(in_own_process, name, engines, threads, batch)
        rounds = [{label: alone(label, repeats // PROCESSES) for label in subjects} for _ in range(PROCESSES)]
        times = {
            label: {key: float(np.median([each[label][key] for each in rounds])) for key in ("p50", "p90")}
            for label in subjects
        }
    else:
        times = timed(name, engines, subjects, threads, batch, repeats)
    how = f"{PROCESSES} processes each" if arguments.apart else f"{repeats} rounds"
    table = Table(title=f"{name}, 32×32, batch {batch}, {threads} threads, {how}")
    for column in ("", "p50 ms", "p90 ms", f"{FLOAT} takes", f"{EAGER} takes", "size KiB", "size of float"):
        table.add_column(column, justify="right" if column else "left")
    for label, time in sorted(times.items(), key=lambda entry: -entry[1]["p50"]):
        size = sizes.get(label)
        table.add_row(
            label,
            f"{time['p50']:.2f}",
            f"{time['p90']:.2f}",
            f"{times[FLOAT]['p50'] / time['p50']:.2f} x",
            f"{times[EAGER]['p50'] / time['p50']:.2f} x",
            "" if size is None else f"{size / 1024:.0f}",
            "" if size is None else f"{100 * size / sizes[FLOAT]:.1f} %",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="a registered model (default: resnet18 and mobilenet_v2)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--apart", action="store_true", help="each subject in processes of its own")
    arguments = parser.parse_args()
    console = Console(width=130)
    for name in arguments.model or ("resnet18", "mobilenet_v2"):
        with tempfile.TemporaryDirectory() as folder:
            compare(name, arguments, Path(folder), console)


if __name__ == "__main__":
    main()
