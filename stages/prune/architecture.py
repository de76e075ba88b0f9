"""Pruned architecture: a registered model, its layers cut as a record says. Needs no pruning library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from ..models import build_model
from .record import Cut, Cuts, read_pruning_of

Layer = nn.Conv2d | nn.Linear | nn.modules.batchnorm._BatchNorm
# What else holds one number for each channel.
_STATISTICS = ("running_mean", "running_var")


def build_pruned(name: str, image_shape: tuple[int, int, int], classes: int, path: Path) -> nn.Module:
    """Build a registered model and prune it as `pruning.json` says; its weights are random.

    Args:
        name: the registered model.
        image_shape: channels, height, width.
        classes: number of logits.
        path: the record.

    Raises:
        UsageError: the record is missing, broken, or of another model.
    """
    record = read_pruning_of(path, name, image_shape, classes)
    model = build_model(name, image_shape, classes, seed=0)
    try:
        cut_layers(model, record.layers)
    except UsageError as error:
        raise UsageError(f"{path}: does not fit model {name!r}: {error}") from None
    return model


def cut_layers(model: nn.Module, cuts: Cuts) -> None:
    """Remove channels from a network's layers, in place; the other weights stay.

    Args:
        model: holds `nn.Conv2d`, `nn.Linear` or BatchNorm layers under the names of `cuts`.
        cuts: what goes, in the numbering of `model`.

    Raises:
        UsageError: a layer is missing, of another kind, or has no such channels to spare.
    """
    layers = dict(model.named_modules())
    for name, cut in cuts.items():
        layer = layers.get(name)
        if isinstance(layer, nn.Conv2d):
            _cut_convolution(layer, cut, name)
        elif isinstance(layer, nn.Linear):
            layer.out_features = _cut_outputs(layer, cut, layer.out_features, name)
            kept = _kept(layer.in_features, cut.inputs, name)
            layer.weight, layer.in_features = _selected(layer.weight, 1, kept), len(kept)
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.num_features = _cut_outputs(layer, cut, layer.num_features, name)
        else:
            raise UsageError(f"layer {name!r} is {'missing' if layer is None else 'a ' + type(layer).__name__}")


def is_depthwise(layer: nn.Conv2d) -> bool:
    """Whether every channel is filtered by itself, one to one: inputs, outputs and groups are the same."""
    return layer.groups == layer.in_channels == layer.out_channels > 1


def _cut_convolution(layer: nn.Conv2d, cut: Cut, name: str) -> None:
    depthwise = is_depthwise(layer)
    layer.out_channels = _cut_outputs(layer, cut, layer.out_channels, name)
    if depthwise:
        layer.in_channels = layer.groups = layer.out_channels
        return
    kept = _kept(layer.in_channels, cut.inputs, name)
    # Every group of a grouped convolution loses the same of its inputs, and its weight counts them within a group.
    width = layer.in_channels // layer.groups
    within = [index for index in kept if index < width]
    whole = [index + group * width for group in range(layer.groups) for index in within]
    if kept != whole or not within or layer.out_channels % layer.groups:
        raise UsageError(f"layer {name!r} would lose different channels in each of its {layer.groups} groups")
    layer.weight, layer.in_channels = _selected(layer.weight, 1, within), len(kept)


def _cut_outputs(layer: Layer, cut: Cut, count: int, name: str) -> int:
    kept = _kept(count, cut.outputs, name)
    for key in ("weight", "bias"):
        if (parameter := getattr(layer, key)) is not None:
            setattr(layer, key, _selected(parameter, 0, kept))
    for key in _STATISTICS:
        if (statistic := getattr(layer, key, None)) is not None:
            setattr(layer, key, statistic[kept])
    return len(kept)


def _kept(count: int, removed: Sequence[int], name: str) -> list[int]:
    gone = set(removed)
    if gone and not 0 <= min(gone) <= max(gone) < count:
        raise UsageError(f"layer {name!r} has {count} channels, so none that is numbered {max(gone)}")
    if len(gone) == count:
        raise UsageError(f"layer {name!r} would lose all of its {count} channels")
    return [index for index in range(count) if index not in gone]


def _selected(parameter: Tensor, dimension: int, kept: Sequence[int]) -> nn.Parameter:
    picked = torch.tensor(kept, device=parameter.device)
    return nn.Parameter(parameter.detach().index_select(dimension, picked), requires_grad=parameter.requires_grad)
