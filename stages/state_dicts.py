"""State dicts in a training script's checkpoint: the one that fits a model, under its own names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from ..core.errors import UsageError

# Keys under which scripts keep a state dict, those that win over others first.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
# What DataParallel and DDP put before a network's names, and torch.compile before those of any part of it.
_PARALLEL, _COMPILED = "module.", "_orig_mod."
# Weights averaged over training (Izmailov et al., UAI 2018; exponential moving averages), as scripts call them.
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|averaged?|avg)(?![a-z])")
_NO_WEIGHTS = re.compile(r"optim|sched|scaler")
# BatchNorm counts its batches in it for a momentum that is none; before PyTorch 0.4.1 there was no such buffer.
OPTIONAL = ".num_batches_tracked"
_SHOWN = 6

Kind = Literal["ema", "raw"]


@dataclass(frozen=True)
class StateDict:
    """A state dict out of a checkpoint.

    Attributes:
        place: where it lay: the keys that lead to it, and the prefix of its names.
        weights: its tensors, by the network's own names.
    """

    place: str
    weights: dict[str, Tensor]

    @property
    def kind(self) -> Kind:
        """Whether its place calls it averaged."""
        return "ema" if _AVERAGED.search(self.place.lower()) else "raw"


def state_dicts(saved: object, place: str = "") -> Iterator[StateDict]:
    """Find the state dicts in what was saved: dicts of names to tensors, at any depth.

    Args:
        saved: what was read; what is neither a tensor nor a dict of something is skipped.
        place: the keys that lead to it.
    """
    if not isinstance(saved, dict) or not all(isinstance(key, str) for key in saved):
        return
    tensors = {key: value for key, value in saved.items() if isinstance(value, Tensor)}
    if len(tensors) > len(saved) / 2:
        yield StateDict(place, {name.replace(_COMPILED, ""): value for name, value in tensors.items()})
        return
    for key, value in saved.items():
        if not _NO_WEIGHTS.search(key.lower()):
            yield from state_dicts(value, f"{place}.{key}" if place else key)


def fitting(
    found: Sequence[StateDict], names: Collection[str], asked: str | None, path: Path, preferred: Sequence[str] = ()
) -> tuple[StateDict, str | None]:
    """Choose the state dict that has most of a network's names, under whatever prefix.

    Args:
        found: what the checkpoint holds; one at least.
        names: of the network's own state dict.
        asked: `ema` or `raw` where both are there, or the place of the one that is meant; averaged ones by default, as
            timm's `load_checkpoint` does.
        path: the file, for messages.
        preferred: keys that win over others, besides `WRAPPERS`.

    Returns:
        it, and what a user should know of the choice; None where there was none.

    Raises:
        UsageError: what is asked for is not there, or several are left.
    """
    needed = {name for name in names if not name.endswith(OPTIONAL)}
    offered = [each for one in found for each in _under_prefixes(one, needed)]
    fit = [len(needed & each.weights.keys()) for each in offered]
    best = [each for each, count in zip(offered, fit, strict=True) if count == max(fit)]
    short = [
        each for each, count in zip(offered, fit, strict=True) if max(fit) > count > max(fit) / 2 and each.kind == "ema"
    ]
    if asked not in (None, "ema", "raw"):
        chosen = [each for each in offered if asked in (each.place, each.place.partition(":")[0])]
        if not chosen:
            raise UsageError(f"{path}: holds no weights under {asked!r} (it has: {_places(offered)})")
        return max(chosen, key=lambda each: len(needed & each.weights.keys())), None
    kinds = {each.kind for each in best}
    kind = asked or ("ema" if "ema" in kinds else "raw")
    if kind not in kinds:
        raise UsageError(f"{path}: holds no {_words(kind)} weights of this model (it has: {_places(best)})")
    chosen = _preferred([each for each in best if each.kind == kind], (*preferred, *WRAPPERS))
    if len(chosen) > 1:
        raise UsageError(f"{path}: holds several models: {_places(chosen)}; say which with weights: {chosen[0].place}")
    (one,) = chosen
    others = [each for each in best if each.kind != kind]
    if others and asked is None:
        return one, (
            f"{path}: has averaged weights ({one.place}) and raw ones ({_places(others)}); the averaged are taken, "
            "weights: raw takes the others"
        )
    if short and asked is None and kind == "raw":
        lacking = sorted(needed - short[0].weights.keys())
        return one, (
            f"{path}: its averaged weights ({short[0].place}) lack {len(lacking)} of the model's, such as "
            f"{lacking[0]}; the raw ones ({one.place or 'at its top'}) are taken"
        )
    return one, None


def _under_prefixes(one: StateDict, needed: Collection[str]) -> Iterator[StateDict]:
    """A state dict as it is, or its parts whose names are the network's behind a common prefix."""
    prefixes = {"", _PARALLEL}
    for name in needed:
        prefixes |= {found.removesuffix(name) for found in one.weights if found.endswith(f".{name}")}
    shared = needed or {name.removeprefix(_PARALLEL) for name in one.weights}
    counts = {prefix: sum(f"{prefix}{name}" in one.weights for name in shared) for prefix in prefixes}
    parts = {prefix: _part(one, prefix) for prefix, count in counts.items() if prefix and count}
    if counts[""] < max(counts.values()):
        yield from parts.values()
        return
    # As it is, but for averaged weights beside the others.
    averaged = {prefix: part for prefix, part in parts.items() if part.kind == "ema" and one.kind == "raw"}
    rest = {name: value for name, value in one.weights.items() if not name.startswith(tuple(averaged))}
    yield StateDict(one.place, rest)
    yield from averaged.values()


def _part(one: StateDict, prefix: str) -> StateDict:
    place = f"{one.place}:{prefix.rstrip('.')}" if one.place else prefix.rstrip(".")
    whole = {name.removeprefix(prefix): value for name, value in one.weights.items() if name.startswith(prefix)}
    return StateDict(place, whole)


def _preferred(several: list[StateDict], order: Sequence[str]) -> list[StateDict]:
    """Those whose key comes first in an order; all where none is in it."""
    ranks = [min((order.index(key) for key in each.place.split(".") if key in order), default=None) for each in several]
    known = [rank for rank in ranks if rank is not None]
    if len(several) < 2 or not known:
        return several
    return [each for each, rank in zip(several, ranks, strict=True) if rank == min(known)]


def _places(several: Sequence[StateDict]) -> str:
    shown = list(dict.fromkeys(each.place or "its top" for each in several))
    return ", ".join(shown[:_SHOWN]) + (", …" if len(shown) > _SHOWN else "")


def _words(kind: str) -> str:
    return {"ema": "averaged"}.get(kind, kind)
