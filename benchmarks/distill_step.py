"""One step of AdaAD: ours against the plain one, alternating in one process, and what each optimisation gives.

    python benchmarks/distill_step.py --pair cnn28
    python benchmarks/distill_step.py --pair mobilenet --device cuda --batch 128

The plain step is written as the authors' code does it: eager float32, NCHW, gradients of every inner step through
student and teacher, the clean images forwarded whether the loss needs them or not. Ours is what the trainer does: the
method `adaad`, `FastForward` of both networks in the inner maximisation, refreshed once a step, and autocast around the
student's forward in the outer loss. Both take the same batch, ten inner steps and an SGD step. TF32 is off.

Each row adds one optimisation to the row above: no clean forward where alpha = 1 does not need it; FastForward with
its fixed weights and folded BatchNorm; channels last; bfloat16 in the inner maximisation; bfloat16 in the outer loss;
and the convolutions of `kernels.py` in place of oneDNN's slow ones, which is ours. Below it the same with SAAD's
linearised teacher in the inner maximisation, and SAAD itself, whose outer loss asks both networks twice.

The images are scikit-learn's digits, enlarged; both networks are trained on them for a few steps, so that they have
something to disagree about.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from distill_step_contenders import (
    PAIRS,
    Library,
    Optimisations,
    Pair,
    ablation,
    networks,
    plain_attack,
    plain_loss,
    sgd,
    started,
)
from edgeproof.core.memory import keep_freed_memory
from edgeproof.stages.distill.losses import kl
from machine_limits import Operations, machine, peak, synchronised
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

PLAIN, OURS, LINEAR, SAAD = "plain", "+ own gradients = ours", "ours, linearised teacher", "ours, SAAD"
COMPILED = "+ torch.compile"


@dataclass
class Step:
    """A training step with networks of its own."""

    run: Callable[[Tensor, Tensor], Any]
    compiled: bool = False
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    operations: int = 0
    memory: int | None = None

    def count(self, x: Tensor, y: Tensor) -> None:
        """Run once and count the operations of products and convolutions."""
        with Operations() as counter:
            self.run(x, y)
        self.operations = counter.total


def plain_step(student: nn.Module, teacher: nn.Module) -> Step:
    student, teacher = copy.deepcopy(student), copy.deepcopy(teacher)
    optimiser = sgd(student)

    def run(x: Tensor, y: Tensor) -> None:
        x_adv = plain_attack(student, teacher, x, started(x).detach())
        loss = plain_loss(student, teacher, x, x_adv)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return Step(run)


def gradient(loss: Tensor, student: nn.Module) -> Tensor:
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(student.parameters()))])


def same_problem(student: nn.Module, teacher: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Both attacks from one start, judged by the plain float32 networks; and the gradients the student gets."""
    ours = Library(student, teacher, Optimisations())
    start, other = started(x), started(x)
    plain = copy.deepcopy(student)
    x_plain, x_other = (plain_attack(plain, teacher, x, first.clone()) for first in (start, other))
    x_ours = ours.attack(x, y, start.clone())
    plain.eval()
    with torch.no_grad():
        reached = {
            name: float(kl(teacher(at), plain(at)).mean())
            for name, at in (("clean", x), ("plain", x_plain), ("ours", x_ours), ("other", x_other))
        }
    plain.train()
    expected = gradient(plain_loss(plain, teacher, x, x_plain), plain)

    def cosine(found: Tensor) -> float:
        return float(F.cosine_similarity(found, expected, dim=0))

    return {
        "objective_clean": reached["clean"],
        "objective_plain": reached["plain"],
        "objective_ours": reached["ours"],
        "objective_plain_other_start": reached["other"],
        "gradient_cosine": cosine(gradient(ours.loss(x, x_ours, y), ours.student)),
        "gradient_cosine_same_images": cosine(gradient(ours.loss(x, x_plain, y), ours.student)),
        "gradient_cosine_plain_other_start": cosine(gradient(plain_loss(plain, teacher, x, x_other), plain)),
    }


def measure(steps: dict[str, Step], x: Tensor, y: Tensor, rounds: int) -> None:
    """Time the steps in turn: once to warm up and count operations, then `rounds` times."""
    on_gpu, held = x.device.type == "cuda", 0
    for step in steps.values():
        step.run(x, y) if step.compiled else step.count(x, y)
    for _ in range(rounds):
        for step in steps.values():
            if on_gpu:
                torch.cuda.reset_peak_memory_stats(x.device)
                held = torch.cuda.memory_allocated(x.device)
            begin, cpu = synchronised(x.device), time.process_time()
            step.run(x, y)
            step.seconds.append(synchronised(x.device) - begin)
            step.cpu_seconds.append(time.process_time() - cpu)
            step.memory = torch.cuda.max_memory_allocated(x.device) - held if on_gpu else None


def compare(before: list[float], after: list[float]) -> tuple[float, float, float]:
    """How many times faster `after` is, round by round: quartiles, the median first."""
    ratios = [one / other for one, other in zip(before, after, strict=True)]
    if len(ratios) == 1:
        return ratios[0], ratios[0], ratios[0]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return median, low, high


def benchmark(
    pair: Pair, device: torch.device, *, batch: int, rounds: int, compiled: bool, ablated: bool
) -> dict[str, Any]:
    """Measure one pair; all times in seconds."""
    peaks = {"float32": peak(device, torch.float32), "bfloat16": peak(device, torch.bfloat16)}
    student, teacher, images, labels = networks(pair, device)
    x, y = images[-batch:], labels[-batch:]
    problem = same_problem(student, teacher, x, y)
    rows = {**(ablation() if ablated else {}), OURS: Optimisations()}
    if compiled:
        rows[COMPILED] = Optimisations(compiled=True)
    ours = COMPILED if compiled else OURS
    rows[LINEAR] = Optimisations(compiled=compiled, method="linear")
    rows[SAAD] = Optimisations(compiled=compiled, method="saad")
    steps = {PLAIN: plain_step(student, teacher)}
    low = {PLAIN: "float32"}
    for label, chosen in rows.items():
        library = Library(student, teacher, chosen)
        steps[label] = Step(library.run, compiled=chosen.compiled)
        low[label] = "bfloat16" if chosen.bfloat16_inner else "float32"
    measure(steps, x, y, rounds)
    # The machine may have been busy with other work the first time.
    peaks = {name: max(value, peak(device, getattr(torch, name))) for name, value in peaks.items()}
    table: dict[str, Any] = {}
    before, on_gpu = PLAIN, device.type == "cuda"
    for label, step in steps.items():
        reference = ours if label in (LINEAR, SAAD) else before
        table[label] = {
            "seconds": statistics.median(step.seconds),
            "faster_than_plain": compare(steps[PLAIN].seconds, step.seconds),
            "faster_than_plain_cpu": None if on_gpu else compare(steps[PLAIN].cpu_seconds, step.cpu_seconds),
            "faster_than": reference,
            "faster": compare(steps[reference].seconds, step.seconds),
            "operations": step.operations,
            "share_of_peak": step.operations / peaks[low[label]] / min(step.seconds) if step.operations else None,
            "peak_memory": step.memory,
        }
        before = label
    return {
        "teacher": pair.teacher,
        "student": pair.student,
        "batch": batch,
        "rounds": rounds,
        "device": machine(device),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg(),
        "torch": torch.__version__,
        "peaks": peaks,
        "same_problem": problem,
        "steps": table,
    }


def spread(ratio: tuple[float, float, float]) -> str:
    median, low, high = ratio
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


def show(result: dict[str, Any]) -> None:
    """Print the table of one pair."""
    peaks, console = result["peaks"], Console(width=140)
    shown = Table("step", "ms", "× plain [quartiles]", "in CPU time", "× the row above*", "of the limit", "GiB")
    for label, row in result["steps"].items():
        cpu, share, memory = row["faster_than_plain_cpu"], row["share_of_peak"], row["peak_memory"]
        shown.add_row(
            label,
            f"{row['seconds'] * 1e3:.1f}",
            spread(row["faster_than_plain"]),
            spread(cpu) if cpu else "",
            spread(row["faster"]),
            f"{share:.0%}" if share else "",
            f"{memory / 2**30:.2f}" if memory else "",
        )
    console.print(
        f"{result['teacher']} teaches {result['student']}, batch {result['batch']}, {result['rounds']} rounds; "
        f"{result['device']}, {result['threads']} threads, load {result['load'][0]:.1f}, torch {result['torch']}"
    )
    console.print(shown)
    plain, ours = result["steps"][PLAIN], result["steps"][OURS]
    console.print(
        f"limit: operations over measured peak: {plain['operations'] / 1e9:.1f} Gop at {peaks['float32'] / 1e9:.0f} "
        f"Gop/s (float32), {ours['operations'] / 1e9:.1f} Gop at {peaks['bfloat16'] / 1e9:.0f} Gop/s "
        f"(bfloat16); the share is of the fastest round. *The last two rows: × ours"
    )
    same = result["same_problem"]
    console.print(
        f"same problem: inner objective {same['objective_ours'] / same['objective_plain']:.4f} of the plain step's "
        f"({same['objective_plain']:.4g}; clean {same['objective_clean']:.4g}; the plain step from another start "
        f"{same['objective_plain_other_start'] / same['objective_plain']:.4f}); cosine of the student's gradients "
        f"{same['gradient_cosine']:.4f} (same x': {same['gradient_cosine_same_images']:.4f}; the plain step from "
        f"another start: {same['gradient_cosine_plain_other_start']:.4f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pair", choices=PAIRS, default="cnn28")
    parser.add_argument("--batch", type=int, help="images a step")
    parser.add_argument("--rounds", type=int, help="how often every step is timed")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's default otherwise")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--no-ablation", action="store_true", help="only plain, ours and SAAD")
    parser.add_argument("--compiled", action="store_true", help="torch.compile both networks of ours")
    parser.add_argument("--keep-freed-memory", action="store_true", help="as the function of that name does")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.keep_freed_memory and not keep_freed_memory():
        parser.error("--keep-freed-memory: needs Linux with glibc")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    name = arguments.device if arguments.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    pair = PAIRS[arguments.pair]
    result = benchmark(
        pair,
        torch.device(name),
        batch=arguments.batch or pair.batch,
        rounds=arguments.rounds or pair.rounds,
        compiled=arguments.compiled,
        ablated=not arguments.no_ablation,
    )
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
