"""BatchNorm-folded copy: answers and input gradients of a network's eval mode, at the speed of inference."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from ...core.errors import UsageError, reason_of
from ..kernels import StridedDepthwiseConv2d, spare_slow_gradients

# Types are compared exactly: a subclass may compute something else.
_CONVOLUTIONS = (nn.Conv2d, StridedDepthwiseConv2d)
_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
# What is held in a lower dtype; autocast knows what to do with all else that has weights (LayerNorm, say).
_CAST = (*_CONVOLUTIONS, nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


class FoldedCopy(nn.Module):
    """What `source` answers in eval mode, differentiable with respect to the images only.

    For teachers, and for the student in the inner maximisation. No gradient of a weight is ever needed there, so
    BatchNorm folds into the convolution before it, and weights are held in the dtype that they are multiplied in.
    All weights are its own: `source` is never changed, and is read again at `refresh`.

    A BatchNorm without a convolution before it (in pre-activation networks) stays one. So do all of a network that
    torch.fx cannot trace, because its forward branches on what it sees; `obstacle` says so.

    Args:
        source: the network, in any mode, on the device where it is used.
        dtype: what convolutions and linear layers compute in, `torch.float32` or `torch.bfloat16`; all else is left
            to autocast.
        channels_last: compute in the order NHWC.
        fold: fold BatchNorm; off for comparisons.
        compiled: run through `torch.compile`, with CUDA graphs on a GPU. Every batch shape takes from seconds to
            minutes the first time, and on a CPU nothing is gained.

    Attributes:
        obstacle: why the network could not be traced; None where it was.

    Raises:
        UsageError: another dtype.
    """

    def __init__(
        self,
        source: nn.Module,
        *,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = True,
        fold: bool = True,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        if dtype not in (torch.float32, torch.bfloat16):
            raise UsageError(f"a network is asked in torch.float32 or torch.bfloat16, not in {dtype}")
        self.low = dtype != torch.float32
        self.channels_last = channels_last
        self.compiled = compiled
        self.obstacle: str | None = None
        self._folds: list[_Fold] = []
        network = copy.deepcopy(source).requires_grad_(False).eval().float()
        if fold:
            network = self._folded(network, source)
        if self.low:
            for module in network.modules():
                if type(module) in _CAST:
                    module.to(dtype)
        if not compiled:
            spare_slow_gradients(network, learns=False)
        if channels_last:
            network.to(memory_format=torch.channels_last)
        # Pairs of a module and the source's, whose weights it copies; a list, so that none becomes a submodule.
        self._copies = list(_counterparts(network, source, {fold.own for fold in self._folds}))
        self.network = network
        self._answer = _compiled(network) if compiled else network
        self.refresh()

    @property
    def folded(self) -> int:
        """How many BatchNorms went into the convolution before them."""
        return len(self._folds)

    def forward(self, x: Tensor) -> Tensor:
        """Map images `[N, C, H, W]` to logits `[N, K]`; both are float32, whatever the dtype inside."""
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        # The dtype inside is its own affair, whatever autocast is on around it.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.low):
            logits = self._answer(x)
        return logits.to(torch.float32, copy=self.compiled)  # a CUDA graph overwrites its answer the next time

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the source's present weights and statistics, in place: a few small copies, no new trace."""
        for fold in self._folds:
            fold.refresh()
        for own, source in self._copies:
            for name, value in _tensors(own):
                current = getattr(source, name, None)
                if isinstance(current, Tensor):  # else a constant that the trace made
                    value.copy_(current)

    def train(self, mode: bool = True) -> FoldedCopy:
        """Stay in eval mode: there is no other."""
        return super().train(False)

    def _folded(self, network: nn.Module, source: nn.Module) -> nn.Module:
        if _hooked(network):
            self.obstacle = "it has forward hooks"
            return network
        try:
            traced = fx.GraphModule(network, _Tracer().trace(network))
        except Exception as error:  # theirs may fail in any way
            self.obstacle = reason_of(error)
            return network
        calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
        for node in list(traced.graph.nodes):
            norm = _called(traced, node)
            if type(norm) not in _NORMS or norm.running_mean is None:
                continue
            before = node.all_input_nodes[0]
            convolution = _called(traced, before)
            once = calls[node.target] == calls[before.target] == len(before.users) == 1
            if type(convolution) in _CONVOLUTIONS and once and not _hooked(norm) and not _hooked(convolution):
                self._folds.append(
                    _Fold(
                        _with_bias(convolution),
                        source.get_submodule(cast(str, before.target)),
                        source.get_submodule(cast(str, node.target)),
                    )
                )
                node.replace_all_uses_with(before)
                traced.graph.erase_node(node)
        traced.delete_all_unused_submodules()
        traced.recompile()
        return traced


@dataclass(frozen=True)
class _Fold:
    """A convolution of ours, and the source's convolution and BatchNorm that it stands for."""

    own: nn.Conv2d
    convolution: Any
    norm: Any

    def refresh(self) -> None:
        own, convolution, norm = self.own, self.convolution, self.norm
        scale = torch.rsqrt(norm.running_var + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight
        shift = -norm.running_mean if convolution.bias is None else convolution.bias - norm.running_mean
        shift = shift * scale
        if norm.bias is not None:
            shift = shift + norm.bias
        own.weight.copy_(convolution.weight * scale.view(-1, 1, 1, 1))
        cast(Tensor, own.bias).copy_(shift)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) is StridedDepthwiseConv2d or super().is_leaf_module(m, module_qualified_name)


def _called(traced: fx.GraphModule, node: fx.Node) -> Any:
    return traced.get_submodule(cast(str, node.target)) if node.op == "call_module" else None


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _with_bias(convolution: nn.Conv2d) -> nn.Conv2d:
    # A weight of its own, also where the source ties it to another layer's.
    convolution.weight = nn.Parameter(convolution.weight.clone(), requires_grad=False)
    if convolution.bias is None:
        bias = convolution.weight.new_zeros(convolution.out_channels)
        convolution.register_parameter("bias", nn.Parameter(bias, requires_grad=False))
    return convolution


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


def _counterparts(
    network: nn.Module, source: nn.Module, known: set[nn.Conv2d]
) -> Iterator[tuple[nn.Module, nn.Module]]:
    for name, module in network.named_modules():
        if module not in known and next(_tensors(module), None) is not None:
            yield module, source.get_submodule(name)


def _compiled(network: nn.Module) -> Any:
    on_gpu = any(parameter.is_cuda for parameter in network.parameters())
    return torch.compile(network, dynamic=False, mode="reduce-overhead" if on_gpu else "default")
