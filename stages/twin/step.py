"""Step of a compiled graph."""

from __future__ import annotations

from dataclasses import dataclass

from .registry import Kernel


@dataclass
class Step:
    """One kernel call: slots in, slots out, and the slots nobody needs afterwards."""

    kernel: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    moded: bool
    label: str
    op_type: str = ""  # of ONNX's own operators
    release: tuple[int, ...] = ()
