"""Torch program of an ONNX file, quantizers as operators of `torch.export`, for the targets that compile one."""

from __future__ import annotations

from pathlib import Path

import onnx
from torch import Tensor, nn

from ..core.errors import StageError
from ..core.onnx_reader import read_onnx
from ..targets.base import Scheme
from ..targets.torch_program import converters
from .lint import lint
from .twin.errors import UnsupportedOperator
from .twin.graph import Twin
from .twin.integers import IntegerCompiler


class TorchProgram(nn.Module):
    """An image classifier's graph with its quantizers as torch's own operators.

    Args:
        model: the graph, its external data loaded.

    Raises:
        UnsupportedOperator: a node has no such operator.
        ModelError: the graph is broken.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.twin = Twin(model, compiler=IntegerCompiler)

    def forward(self, images: Tensor) -> Tensor:
        """Images `[N, C, H, W]` to logits `[N, classes]`."""
        logits = self.twin(images)
        assert isinstance(logits, Tensor)
        return logits


@converters.register("onnx")
def convert(onnx_path: Path, scheme: Scheme, runtime: str) -> nn.Module:
    """Convert a file that the scheme allows; see `targets.torch_program.Converter`."""
    model = read_onnx(onnx_path)
    refused = [f"{found.node}: {found.message}" for found in lint(model, scheme) if found.severity == "error"]
    if refused:
        more = f" (and {len(refused) - 1} more findings like it)" if len(refused) > 1 else ""
        raise StageError(f"{onnx_path}: {runtime} would misread the model: {refused[0]}{more}")
    try:
        return TorchProgram(model)
    except UnsupportedOperator as error:
        where = f"node '{error.node}' ({error.op_type}, {error.domain or 'ai.onnx'} opset {error.opset})"
        raise StageError(f"{onnx_path}: {runtime} refuses the model: {where}: {error.reason}") from None
