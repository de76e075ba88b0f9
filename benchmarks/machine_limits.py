"""What a machine computes at most, and how much is asked of it."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


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


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    flags = next((line for line in _cpuinfo() if line.startswith("flags")), "")
    return f"{(names or [platform.processor()])[0]}{', AVX512-BF16' if 'avx512_bf16' in flags else ''}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
