"""The twin: a torch module that computes what an ONNX graph computes, and can be differentiated."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import onnx
import onnx.inliner
import torch
from torch import Tensor, nn

from ...core.errors import ModelError, UsageError
from ...core.onnx_reader import read_onnx
from . import lowering, ops, subgraphs  # noqa: F401  (register the operators)
from .backward import BACKWARD_MODES, BackwardMode
from .batch import fixed_batch, freed
from .program import Compiler
from .types import widen


class Twin(nn.Module):
    """A differentiable interpreter of one ONNX graph, in inference semantics.

    Everything that depends on no input is computed once, at construction, and held as a buffer, so ``.to(device)``
    and ``.double()`` work as on any module. Quantized values travel as float tensors of whole numbers. The gradient
    follows the rule in :mod:`~edgeproof.stages.twin.backward`.

    Args:
        model: the graph; its external data must be loaded (:func:`load_twin` does that).
        backward: backward mode; a plain attribute that may be changed between calls.
        compiler: what turns nodes into steps.

    Raises:
        UnsupportedOperator: a node cannot be reproduced exactly.
        ModelError: the graph is broken.
    """

    def __init__(
        self, model: onnx.ModelProto, *, backward: BackwardMode = "relu", compiler: type[Compiler] = Compiler
    ) -> None:
        super().__init__()
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        self._batch = fixed_batch(model)
        self._any_batch: bool | None = None  # whether it computes other batches as well; looked at when there is one
        if self._batch is not None:
            model = freed(model, self._batch)
        opsets = {entry.domain: entry.version for entry in model.opset_import}
        compiled = compiler(opsets)
        self._program = compiled.compile(model.graph)
        self.backward = backward
        stored = {initializer.name for initializer in model.graph.initializer}
        self.input_names: list[str] = [v.name for v in model.graph.input if v.name not in stored]
        self.output_names: list[str] = [v.name for v in model.graph.output]
        self._initializers: dict[str, str] = {}
        self._constants: list[tuple[int, str]] = []
        for name in stored:
            value = compiled.scope[name]
            if value.constant is not None and value.constant.is_floating_point():
                self._initializers[name] = self._store(name, value.constant)
        names = {compiled.scope[name].slot: buffer for name, buffer in self._initializers.items()}
        for slot, tensor in self._program.constants.items():
            self._constants.append((slot, names.get(slot) or self._store(f"constant_{slot}", tensor)))
        self._program.constants.clear()  # the buffers hold them now, and follow the module to its device
        self.eval()

    @property
    def backward(self) -> BackwardMode:  # type: ignore[override]
        """Backward mode of the quantizers."""
        return self._backward

    @backward.setter
    def backward(self, mode: BackwardMode) -> None:
        if mode not in BACKWARD_MODES:
            raise UsageError(f"backward mode '{mode}' is unknown (known: {', '.join(BACKWARD_MODES)})")
        self._backward: BackwardMode = mode

    def in_mode(self, mode: BackwardMode) -> Twin:
        """The same graph with another backward mode; the weights are shared."""
        other = copy(self)
        other.backward = mode
        return other

    @property
    def initializers(self) -> Mapping[str, Tensor]:
        """The graph's float initialisers by their ONNX names."""
        return MappingProxyType({name: getattr(self, buffer) for name, buffer in self._initializers.items()})

    @property
    def coarse(self) -> bool:
        """Whether something that is no constant is quantized to fewer than 8 bits."""
        return any(high - low < 255 for low, high in self._program.grids())

    def forward(self, *inputs: Tensor, backward: BackwardMode | None = None) -> Tensor | tuple[Tensor, ...]:
        """Run the graph.

        Args:
            inputs: one tensor per graph input, in the graph's order; any batch size where the graph allows it.
            backward: another backward mode than the twin's own.

        Returns:
            The graph's output; a tuple where there are several. Quantized outputs are whole numbers in a float
            tensor.
        """
        if self._batch is not None and len(inputs) == 1 and len(inputs[0]) not in (0, self._batch):
            (images,) = inputs
            if self._any_batch is None:
                self._any_batch = self._computes_any(images)
            if not self._any_batch:
                return self._in_parts(images, backward)
        return self._whole(*inputs, backward=backward)

    def _in_parts(self, images: Tensor, backward: BackwardMode | None) -> Tensor:
        """Batches of the one size that the graph computes, the last one filled up with its own last image."""
        batch = cast(int, self._batch)
        parts = list(images.split(batch))
        parts[-1] = torch.cat([parts[-1], parts[-1][-1:].expand(batch - len(parts[-1]), *images.shape[1:])])
        answers = [cast(Tensor, self._whole(part, backward=backward)) for part in parts]
        return torch.cat(answers)[: len(images)]

    def _computes_any(self, images: Tensor) -> bool:
        """Whether a batch of another size, of images such as these, is answered as its parts are."""
        count = cast(int, self._batch) + 1
        noise = torch.rand(count, *images.shape[1:], generator=torch.Generator().manual_seed(0)).to(images)
        with torch.no_grad():
            apart = self._in_parts(noise, None)
            try:
                together = self._whole(noise)
            except ModelError:
                return False
        if not isinstance(together, Tensor) or together.shape != apart.shape:
            return False
        return torch.allclose(together, apart, rtol=1e-3, atol=1e-4)

    def _whole(self, *inputs: Tensor, backward: BackwardMode | None = None) -> Tensor | tuple[Tensor, ...]:
        program = self._program
        if len(inputs) != len(program.inputs):
            raise ModelError(
                f"the graph has {len(program.inputs)} inputs ({', '.join(self.input_names)}), {len(inputs)} were given"
            )
        values: list[Any] = [None] * program.size
        buffers = self._buffers
        for slot, name in self._constants:
            values[slot] = buffers[name]
        for slot, tensor in zip(program.inputs, inputs, strict=True):
            values[slot] = widen(tensor)
        outputs = program.run(values, backward or self._backward)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _store(self, name: str, tensor: Tensor) -> str:
        """Register a buffer under a name that torch allows, and return that name."""
        safe = name.replace(".", "/") or "unnamed"
        while safe in self._buffers or hasattr(self, safe):
            safe += "_"
        self.register_buffer(safe, tensor)
        return safe


def load_twin(path: str | Path, *, backward: BackwardMode = "relu") -> Twin:
    """The twin of an ONNX file; see `read_onnx`.

    Raises:
        UnsupportedOperator: a node cannot be reproduced exactly.
        ModelError: the file is missing, truncated or no ONNX model.
    """
    return Twin(read_onnx(path), backward=backward)
