"""The architectures of RobustBench's zoo as `robustbench/<norm>/<Name>`. Needs the extra `robustbench`.

Source: Croce et al., NeurIPS 2021 Datasets and Benchmarks (arXiv 2010.09670), github.com/RobustBench/robustbench.
Each holds its own normalisation. Weights are another matter: see `stages/teacher/zoo.py`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec, module_from_spec
from typing import Any

from torch import nn

from ...core.errors import UsageError, reason_of
from ...core.registry import nearest
from .base import ModelBuilder, models
from .contract_check import fault

PREFIX = "robustbench/"
DEFAULT_NORM = "Linf"
# RobustBench names its models once a data set; the number of classes tells which.
_DATASETS = {10: "cifar10", 100: "cifar100", 1000: "imagenet"}

_CIFAR = (3, 32, 32)

Entry = Mapping[str, Any]


@cache
def zoo() -> dict[tuple[str, str], Mapping[str, Entry]]:
    """RobustBench's models by (data set, norm) and name; each has a `model` builder and a `gdrive_id`.

    Raises:
        UsageError: the package is not installed, or does not import.
    """
    spec = find_spec("robustbench")
    if spec is None:
        raise UsageError("needs the robustbench extra: pip install 'edgeproof[robustbench]'")
    # The package itself imports `autoattack`, which PyPI does not have, and `pkg_resources`, which setuptools 82
    # dropped. Its zoo needs neither, so it is imported without running the package's own `__init__`.
    bare = None if "robustbench" in sys.modules else module_from_spec(spec)
    if bare is not None:
        sys.modules["robustbench"] = bare
    try:
        found = importlib.import_module("robustbench.model_zoo.models").model_dicts
    except Exception as error:  # theirs may fail in any way
        raise UsageError(f"needs RobustBench's zoo, which does not import: {reason_of(error)}") from error
    finally:
        if bare is not None:
            del sys.modules["robustbench"]
    return {
        (dataset.value, threat.value): entries
        for dataset, by_threat in found.items()
        for threat, entries in by_threat.items()
    }


def zoo_names(norm: str | None = None) -> list[str]:
    """The names of the zoo's models, of one norm or of all."""
    return sorted({name for (_, found), entries in zoo().items() if norm in (None, found) for name in entries})


def zoo_entry(name: str, norm: str, classes: int) -> tuple[str, Entry]:
    """Return a model's data set in RobustBench, and its entry in the zoo.

    Raises:
        UsageError: RobustBench has no such model for this norm and number of classes, or it has one whose
            weights are not one file.
    """
    dataset = _DATASETS.get(classes)
    if dataset is None:
        known = ", ".join(f"{count} ({name})" for count, name in _DATASETS.items())
        raise UsageError(f"robustbench {name!r}: the data have {classes} classes, RobustBench's models {known}")
    entries = zoo().get((dataset, norm), {})
    if name not in entries:
        elsewhere = [f"{other} {found}" for (other, found), there in zoo().items() if name in there]
        hint = f"; it is there for {', '.join(elsewhere)}" if elsewhere else nearest(name, entries)
        raise UsageError(f"robustbench {name!r}: is not in RobustBench's zoo for {dataset} {norm}{hint}")
    if not isinstance(entries[name]["gdrive_id"], str):
        raise UsageError(f"robustbench {name!r}: its weights are not one file of the zoo, which is not supported")
    return dataset, entries[name]


@models.family(
    PREFIX,
    form="robustbench/<norm>/<Name>",
    members=lambda: [f"{PREFIX}{norm}/{name}" for norm in ("Linf", "L2") for name in zoo_names(norm)],
)
def robustbench_model(rest: str) -> ModelBuilder:
    """Every architecture of RobustBench's zoo; the number of classes says of which data set, Linf is the default norm.

    Raises:
        KeyError: the zoo has no model of that name for that norm.
        UsageError: RobustBench is not installed.
    """
    norm, name = split_name(rest)
    try:
        known = zoo_names(norm)
    except UsageError as error:
        raise UsageError(f"{PREFIX + rest!r} {error}") from None
    if name not in known:
        raise KeyError(rest)

    def build(image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        dataset, entry = zoo_entry(name, norm, classes)
        if dataset.startswith("cifar") and image_shape != _CIFAR:
            found, needed = ("×".join(map(str, shape)) for shape in (image_shape, _CIFAR))
            raise UsageError(f"model {PREFIX + rest!r}: takes images of {needed}, the data have {found}")
        model = entry["model"]()
        if problem := fault(model, image_shape, classes):
            raise UsageError(f"model {PREFIX + rest!r}: {problem}")
        return model

    return build


def split_name(rest: str) -> tuple[str, str]:
    """Read norm and name off what follows the prefix: `L2/Rice2020Overfitting`, or a bare name."""
    norm, separator, name = rest.partition("/")
    return (norm, name) if separator else (DEFAULT_NORM, rest)
