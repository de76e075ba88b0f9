"""Torch programs of ONNX files, for runtimes that compile torch.

The converter knows ONNX's operators, and this floor does not know the one that has it: imports point the other way. It
is found by its name, when a runtime wants a program.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..core.registry import Registry
from .base import Scheme

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

# The module that registers the converter.
PROGRAMS = "edgeproof.stages.torch_program"


class Converter(Protocol):
    """Turns an ONNX file into a torch module that `torch.export` takes."""

    def __call__(self, onnx_path: Path, scheme: Scheme, runtime: str) -> nn.Module:
        """Return float32 images `[N, C, H, W]` to logits `[N, classes]`, the quantizers as torch's own operators.

        Those are `quantized_decomposed`'s `quantize_per_tensor`, `dequantize_per_tensor` and, of weights,
        `dequantize_per_channel`; weights are integer buffers.

        Args:
            onnx_path: an image classifier.
            scheme: what the runtime wants the graph to look like.
            runtime: what the runtime calls itself, for messages.

        Raises:
            ModelError: the file is broken.
            StageError: the graph has no such program, or the runtime would misread it; the message names the node.
        """
        ...


converters: Registry[Converter] = Registry("torch program", PROGRAMS)


def torch_program(onnx_path: Path, scheme: Scheme, runtime: str) -> nn.Module:
    """Convert an ONNX file; see `Converter`.

    Raises:
        ModelError: the file is broken.
        StageError: see `Converter`.
    """
    return converters["onnx"](onnx_path, scheme, runtime)


def exported(program: nn.Module, images: Tensor, *, free: bool) -> ExportedProgram:
    """Export a program, with batches from 1 to the example's where the batch size is free.

    The example is the largest batch: torch 2.14 bounds the size by 15 when a smaller one is shown.
    """
    import torch

    dynamic = ({0: torch.export.Dim("batch", min=1, max=len(images))},) if free else None
    with torch.no_grad():
        return torch.export.export(program, (images,), dynamic_shapes=dynamic)
