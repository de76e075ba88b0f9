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
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from edgeproof.stages.data import DataConfig, load_dataset
from edgeproof.stages.distill import InnerMaximisation
from edgeproof.stages.distill.fast import FastForward
from edgeproof.stages.distill.inner import Objective
from edgeproof.stages.distill.losses import kl
from edgeproof.stages.distill.method import Method
from edgeproof.stages.distill.methods.adaad import AdaAD, AdaADConfig
from edgeproof.stages.distill.methods.saad import Saad, SaadConfig
from edgeproof.stages.freed_memory import keep_freed_memory
from edgeproof.stages.kernels import StridedDepthwiseConv2d, ThinConv2d, spare_slow_gradients
from edgeproof.stages.models import build_model
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

EPS, STEP, STEPS = 8 / 255, 2 / 255, 10
PLAIN, OURS, LINEAR, SAAD = "plain", "+ own gradients = ours", "ours, linearised teacher", "ours, SAAD"
COMPILED = "+ torch.compile"


@dataclass(frozen=True)
class Pair:
    """Two networks, the images they see, and batch and rounds that end in minutes on two cores."""

    teacher: str
    student: str
    image_shape: tuple[int, int, int]
    batch: int
    rounds: int
    preparation: int


PAIRS = {
    "cnn28": Pair("cnn28_wide", "cnn28_small", (1, 28, 28), 128, 15, 100),
    "mobilenet": Pair("resnet18", "mobilenet_v2", (3, 32, 32), 32, 4, 30),
    "wrn": Pair("wrn_34_10", "resnet18", (3, 32, 32), 4, 3, 15),
}


@dataclass(frozen=True)
class Optimisations:
    """What a step of the library does beyond a plain one; every field is one row of the table."""

    skip_clean: bool = True  # the clean forward that alpha = 1 does not need
    fold: bool = True
    channels_last: bool = True
    bfloat16_inner: bool = True
    own_kernels: bool = True
    bfloat16_outer: bool = True
    compiled: bool = False
    method: Literal["adaad", "linear", "saad"] = "adaad"


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


class Operations(TorchDispatchMode):
    """Counts multiplications and additions.

    FlopCounterMode itself (torch 2.14) fails in `autograd.grad` and counts the weights' gradient of a depthwise
    convolution as that of a full one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operator."""
        answer = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution_backward.default:
            gradient, _, weight, *_, mask = args
            self.total += 2 * gradient.numel() * weight[0].numel() * sum(mask[:2])
        elif func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=answer)
        return answer


class Autocast(nn.Module):
    """What the trainer's precision plug-in does around a student."""

    def __init__(self, model: nn.Module, enabled: bool) -> None:
        super().__init__()
        self.model, self.enabled = model, enabled

    def forward(self, x: Tensor) -> Tensor:
        """Answer in float32."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.enabled):
            return self.model(x).float()


def plain_attack(student: nn.Module, teacher: nn.Module, x: Tensor, start: Tensor) -> Tensor:
    """AdaAD's inner maximisation as in github.com/boyellow/AdaAD."""
    student.eval()
    teacher.eval()
    criterion = nn.KLDivLoss(reduction="none")
    x_adv = start
    for _ in range(STEPS):
        x_adv.requires_grad_()
        with torch.enable_grad():
            loss = criterion(F.log_softmax(student(x_adv), dim=1), F.softmax(teacher(x_adv), dim=1)).sum()
        gradient = torch.autograd.grad(loss, [x_adv])[0]
        x_adv = x_adv.detach() + STEP * torch.sign(gradient.detach())
        x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS)
        x_adv = torch.clamp(x_adv, 0.0, 1.0)
    student.train()
    return x_adv.detach()


def plain_loss(student: nn.Module, teacher: nn.Module, x: Tensor, x_adv: Tensor, alpha: float = 1.0) -> Tensor:
    """AdaAD's outer loss as there; the clean images are forwarded at alpha = 1 too."""
    clean, adversarial = student(x), student(x_adv)
    with torch.no_grad():
        teacher.eval()
        clean_target, target = teacher(x), teacher(x_adv)
    criterion = nn.KLDivLoss(reduction="batchmean")
    at_adversarial = criterion(F.log_softmax(adversarial, dim=1), F.softmax(target.detach(), dim=1))
    at_clean = criterion(F.log_softmax(clean, dim=1), F.softmax(clean_target.detach(), dim=1))
    return alpha * at_adversarial + (1 - alpha) * at_clean


def sgd(student: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4)


def started(x: Tensor) -> Tensor:
    return x + 0.001 * torch.randn_like(x)


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


class LinearAdaAD(AdaAD):
    """AdaAD with SAAD's inner maximisation and its own outer loss: what the linearised teacher alone gives."""

    def inner(self, x: Tensor, y: Tensor) -> Objective:
        """Linearise the teacher."""
        saad = Saad(SaadConfig(), self.student, self.teacher)
        return saad.inner(x, y)


class Library:
    """The library's step: attack and losses as the trainer calls them."""

    def __init__(self, student: nn.Module, teacher: nn.Module, chosen: Optimisations) -> None:
        self.chosen = chosen
        self.student, teacher = copy.deepcopy(student), copy.deepcopy(teacher)
        if chosen.channels_last:
            self.student.to(memory_format=torch.channels_last)
        if chosen.own_kernels:
            spare_slow_gradients(self.student, learns=True)
        self.view = self._view(self.student)
        teacher = self._view(teacher) or teacher
        if chosen.method == "saad":
            self.method: Method[Any] = Saad(SaadConfig(), self.student, teacher)
        else:
            kind = LinearAdaAD if chosen.method == "linear" else AdaAD
            self.method = kind(AdaADConfig(official=not chosen.skip_clean), self.student, teacher)
        self.method.student = Autocast(self.student, chosen.bfloat16_outer)
        self.maximisation = InnerMaximisation("Linf", EPS, STEP, STEPS, "gaussian")
        self.optimiser = sgd(self.student)

    def _view(self, network: nn.Module) -> FastForward | None:
        chosen = self.chosen
        if not chosen.fold:
            return None
        view = FastForward(
            network,
            dtype=torch.bfloat16 if chosen.bfloat16_inner else torch.float32,
            channels_last=chosen.channels_last,
            compiled=chosen.compiled,
        )
        if not chosen.own_kernels:
            for module in view.modules():
                if isinstance(module, ThinConv2d | StridedDepthwiseConv2d):
                    module.__class__ = nn.Conv2d
        return view

    def attack(self, x: Tensor, y: Tensor, start: Tensor | None = None) -> Tensor:
        """Return x'."""
        if self.view is not None:
            self.view.refresh()
        return self.method.attack(x, y, self.maximisation, start=start, view=self.view)

    def loss(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the outer loss."""
        return self.method.losses(x, x_adv, y).mean()

    def run(self, x: Tensor, y: Tensor) -> None:
        """Run one whole step."""
        if self.chosen.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        loss = self.loss(x, self.attack(x, y), y)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()


def ablation() -> dict[str, Optimisations]:
    """One optimisation after another, each on top of those before; the last one is ours."""
    chosen = Optimisations(False, False, False, False, False, False)
    rows: dict[str, Optimisations] = {}
    for label, changes in (
        ("+ no needless clean forward", {"skip_clean": True}),
        ("+ BatchNorm folded", {"fold": True}),
        ("+ channels last", {"channels_last": True}),
        ("+ bfloat16 inside", {"bfloat16_inner": True}),
        ("+ bfloat16 outside", {"bfloat16_outer": True}),
    ):
        chosen = replace(chosen, **changes)
        rows[label] = chosen
    return rows


def networks(pair: Pair, device: torch.device) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """Return student and teacher after a few steps of plain training, and the digits as they see them."""
    data = load_dataset(DataConfig(dataset="digits")).train
    channels, *size = pair.image_shape
    images = F.interpolate(torch.from_numpy(data.images), size=size, mode="bilinear", antialias=False)
    x, y = images.clamp(0, 1).expand(-1, channels, -1, -1).contiguous().to(device), torch.from_numpy(data.labels)
    y = y.to(device)
    student, teacher = (
        prepared(build_model(name, pair.image_shape, 10, seed=number).to(device), x, y, pair.preparation)
        for number, name in enumerate((pair.student, pair.teacher))
    )
    return student, teacher, x, y


def prepared(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> nn.Module:
    """Train a few steps on clean images, then let BatchNorm average its statistics over as many batches."""
    model.to(memory_format=torch.channels_last).train()
    asked, batches = Autocast(model, True), torch.arange(32 * steps, device=x.device).view(steps, 32) % len(y)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for rows in batches:
        optimiser.zero_grad()
        F.cross_entropy(asked(x[rows]), y[rows]).backward()
        optimiser.step()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for rows in batches[:10]:
            asked(x[rows])
    for norm in norms:
        norm.momentum = 0.1
    return model.to(memory_format=torch.contiguous_format)


def synchronised(device: torch.device) -> float:
    """The time, once the device has done all that it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the fastest of a large matrix product and a large convolution."""
    side = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    samples = 1024 if device.type == "cuda" else 16
    layout = torch.channels_last if dtype == torch.bfloat16 else torch.contiguous_format
    x = torch.randn(samples, 256, 16, 16, device=device, dtype=dtype).to(memory_format=layout)
    weight = torch.randn(256, 256, 3, 3, device=device, dtype=dtype).to(memory_format=layout)
    fastest = 0.0
    for work, operations in (
        (lambda: left @ right, 2 * side**3),
        (lambda: F.conv2d(x, weight, padding=1), 2 * samples * 16 * 16 * 256 * 256 * 9),
    ):
        work()
        for _ in range(10):
            begin = synchronised(device)
            work()
            fastest = max(fastest, operations / (synchronised(device) - begin))
    return fastest


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


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    flags = next((line for line in _cpuinfo() if line.startswith("flags")), "")
    return f"{(names or [platform.processor()])[0]}{', AVX512-BF16' if 'avx512_bf16' in flags else ''}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


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
