"""Which channels of a network can only go together: those that a residual sum, a BatchNorm or a depthwise
convolution ties to each other, and the inputs of the layers that read them.

Source: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023 (arXiv 2301.12900), by its authors'
package, github.com/VainF/Torch-Pruning (MIT). It finds the coupling; what is removed, we remove ourselves
(`architecture.py`), so that a pruned student is built again without the package.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import nn

from ...core.errors import UsageError, reason_of
from .architecture import Layer, is_depthwise
from .record import Cut

_PRUNABLE = (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm)


def library() -> Any:
    """Import torch-pruning.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import torch_pruning
    except ImportError:
        raise UsageError("prune needs the prune extra: pip install 'edgeproof[prune]'") from None
    return torch_pruning


@dataclass(frozen=True, eq=False)
class Coupled:
    """Channels of one or more layers that are pruned as one.

    Attributes:
        layer: the first layer's name.
        channels: how many there are.
        chunks: grouped convolutions among the layers must keep groups of one size, so channels c, c + channels/chunks,
            c + 2 · channels/chunks and so on go together.
        group: torch-pruning's own group over all channels.
    """

    layer: str
    channels: int
    chunks: int
    group: Any

    @property
    def units(self) -> int:
        """How many removals there are to choose from; one removes `chunks` channels."""
        return self.channels // self.chunks


class Couplings:
    """The coupled channels of a network.

    The network's outputs and its input images are in none of them.

    Args:
        network: as it is now; put into eval mode, its parameters must require gradients.
        image_shape: channels, height, width.
        name: the model's name, for messages.

    Attributes:
        coupled: channels that can go.
        whole: layers whose outputs cannot go, each with the reason.

    Raises:
        UsageError: torch-pruning is not installed, or cannot trace the network; says why.
    """

    def __init__(self, network: nn.Module, image_shape: tuple[int, int, int], name: str) -> None:
        graph = library().DependencyGraph()
        images = torch.zeros(2, *image_shape, device=next(network.parameters()).device)
        try:
            with torch.enable_grad():
                # Called by us: it would try the images one by one, and what else fits, and tell of the last failure.
                graph.build_dependency(network, images, forward_fn=lambda model, x: model(x), verbose=False)
                groups = list(graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]))
            if not groups:
                raise ValueError("no layer leads to its logits")
        except Exception as error:  # theirs may fail in any way
            raise UsageError(
                f"model {name!r}: cannot be pruned: torch-pruning cannot trace it: {reason_of(error)}"
            ) from error
        self._graph = graph
        self._names = {module: key for key, module in network.named_modules()}
        self.coupled: list[Coupled] = []
        self.whole: dict[str, str] = {}
        for group in groups:
            root = self._names[group[0].dep.target.module]
            channels, reason = len(group[0].idxs), self._obstacle(group)
            layers = {dependency.target.module for dependency, _ in group}
            chunks = math.lcm(*(layer.groups for layer in layers if _is_grouped(layer)))
            if reason is None and (channels % chunks or channels == chunks):
                reason = f"its {channels} channels cannot go but all together"
            if reason is None:
                self.coupled.append(Coupled(root, channels, chunks, group))
            else:
                self.whole[root] = reason

    def cuts(self, coupled: Coupled, units: Sequence[int]) -> dict[str, Cut]:
        """Return what every layer loses with some units of coupled channels.

        Args:
            coupled: one of `self.coupled`.
            units: which, in [0, coupled.units).
        """
        width = coupled.units
        channels = sorted(unit + chunk * width for unit in units for chunk in range(coupled.chunks))
        root = coupled.group[0].dep
        outputs: dict[str, set[int]] = defaultdict(set)
        inputs: dict[str, set[int]] = defaultdict(set)
        for dependency, indices in self._graph.get_pruning_group(root.target.module, root.handler, channels):
            name = self._names.get(dependency.target.module)
            if name is not None:
                (outputs if self._is_output(dependency) else inputs)[name].update(indices)
        return {
            name: Cut(outputs=tuple(sorted(outputs[name])), inputs=tuple(sorted(inputs[name])))
            for name in outputs.keys() | inputs.keys()
        }

    def _is_output(self, dependency: Any) -> bool:
        # Of layers that keep channels apart (BatchNorm, depthwise) inputs and outputs are one; they count as outputs.
        return self._graph.is_out_channel_pruning_fn(dependency.handler)

    def _count(self, dependency: Any) -> int:
        layer = dependency.target.module
        graph = self._graph
        return graph.get_out_channels(layer) if self._is_output(dependency) else graph.get_in_channels(layer)

    def _obstacle(self, group: Any) -> str | None:
        """Why the channels of a group must stay; None where they can go."""
        channels = len(group[0].idxs)
        for dependency, indices in group:
            node, layer = dependency.target, dependency.target.module
            if self._is_output(dependency) and not node.outputs:
                return "its outputs are the logits"
            if isinstance(layer, nn.Parameter):
                return "it is coupled with a parameter outside the layers"
            name = self._names.get(layer)
            if name is None:  # an operator: a sum, a reshape
                continue
            where = f"{type(layer).__name__} {name!r}"
            if not isinstance(layer, _PRUNABLE) or not _plain(layer):
                return f"it is coupled with {where}, whose channels we cannot remove"
            count = self._count(dependency)
            if max(indices) >= count:
                return f"torch-pruning couples it with channel {max(indices)} of {where}, which has {count}"
            # torch-pruning takes what has as many groups as outputs for depthwise, however many its inputs.
            if _is_grouped(layer) and not (len(indices) == count == channels and layer.groups < layer.out_channels):
                return f"it is coupled with {where}, whose groups it does not fill"
        return None


def _is_grouped(layer: object) -> TypeGuard[nn.Conv2d]:
    return isinstance(layer, nn.Conv2d) and layer.groups > 1 and not is_depthwise(layer)


def _plain(layer: Layer) -> bool:
    """Whether a layer holds a weight and a bias and nothing else that has channels."""
    found = {name for name, _ in layer.named_parameters(recurse=False)}
    return found <= {"weight", "bias"} and ("weight" in found or not isinstance(layer, nn.Conv2d | nn.Linear))
