"""Settings of `verify`: the data, the ball and the effort, from options, `--set` and a recipe's sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import UsageError
from ...stages.adapt import AdapterConfig
from ...stages.data import DataConfig, Dataset, as_tests
from ...stages.threat import ThreatModel
from ...stages.verify import VerifyConfig
from ..recipe.read import apply_override, read_recipe
from ..recipe.validation_errors import checked
from .arguments import data_config, threat_model

_SECTION = "verify"
# The options that are keys of the section, where they are called otherwise.
_OPTIONS = {"packs": "pack", "curve": "no-curve"}
_MEAN_AND_STD = {"mean", "std"}


@dataclass(frozen=True)
class Settings:
    """What to verify with.

    Attributes:
        data: which data set, or one in memory.
        all_tests: whether all of its images are attacked because nothing says what a model was trained on.
        threat: the ball.
        verify: how hard to try.
        adapter: what is known of the model.
        surrogate_adapter: what is known of the surrogate.
    """

    data: DataConfig | Dataset
    all_tests: bool
    threat: ThreatModel
    verify: VerifyConfig
    adapter: AdapterConfig
    surrogate_adapter: AdapterConfig

    @classmethod
    def read(
        cls,
        overrides: Sequence[str],
        recipe: Path | str | None,
        data: Mapping[str, Any],
        threat: Mapping[str, Any],
        verify: Mapping[str, Any],
        *,
        images: Dataset | None = None,
        adapter: AdapterConfig | Mapping[str, Any] | None = None,
        surrogate_adapter: AdapterConfig | Mapping[str, Any] | None = None,
    ) -> Settings:
        """Put together what options say, then `--set`, then the recipe.

        Args:
            overrides: `verify.key=value` each.
            recipe: a recipe's file; None for the sections' defaults.
            data: the options on the section `data`; None where one was not given.
            threat: those on `threat`, likewise.
            verify: those on `verify`, likewise; of `corruptions` False is what is not given, of `curve` True.
            images: the data set in memory, in place of the section `data`.
            adapter: those on `adapter`, key by key.
            surrogate_adapter: those on `surrogate_adapter`, likewise.

        Raises:
            UsageError: names the option, or the recipe's key, that is wrong; or an option and `--set` say the same key.
        """
        raw = {} if recipe is None else read_recipe(Path(recipe))
        source = {key: value for key, value in data.items() if value is not None}
        return cls(
            *(_data(raw.get("data"), recipe, source) if images is None else (_in_memory(images, source), False)),
            _threat(raw.get("threat"), recipe, {key: value for key, value in threat.items() if value is not None}),
            _verify(raw.get(_SECTION), recipe, _said(verify), overrides),
            _adapter(raw, "adapter", recipe, adapter),
            _adapter(raw, "surrogate_adapter", recipe, surrogate_adapter),
        )


def _in_memory(images: Dataset, given: Mapping[str, Any]) -> Dataset:
    for name in given:
        raise UsageError(f"{name}: is for a data set that is named; leave it out, or images and labels")
    return images


def _data(section: Any, recipe: Path | str | None, given: dict[str, Any]) -> tuple[DataConfig, bool]:
    """The data set, and whether all of its files are attacked because no recipe says what was trained on."""
    if "dataset" in given or not isinstance(section, dict):
        if "dataset" not in given:
            raise UsageError("--dataset: is needed, or a --recipe that names one")
        config = data_config(
            given["dataset"], given.get("root"), given.get("image_size"), grey=given.get("grey", False)
        )
        reading = as_tests(config)
        return reading or config, reading is not None
    return checked(DataConfig, {**section, **given}, f"{recipe}: data."), False


def _threat(section: Any, recipe: Path | str | None, given: dict[str, Any]) -> ThreatModel:
    if isinstance(section, dict):
        return checked(ThreatModel, {**section, **given}, f"{recipe}: threat.")
    if "eps" not in given:
        raise UsageError("--eps: is needed, or a --recipe that says it")
    return threat_model(given.get("norm", "Linf"), given["eps"])


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options on `verify` that were given, as the section has them."""
    said = {key: value for key, value in options.items() if value is not None}
    if said.pop("curve") is False:
        said["curve"] = None
    if said["corruptions"] is False:
        del said["corruptions"]
    elif said["corruptions"] is True:
        said["corruptions"] = {}
    return said


def _verify(section: Any, recipe: Path | str | None, said: dict[str, Any], overrides: Sequence[str]) -> VerifyConfig:
    checked(VerifyConfig, said, "--")
    raw: dict[str, Any] = {_SECTION: dict(section) if isinstance(section, dict) else {}}
    checked(VerifyConfig, raw[_SECTION], f"{recipe}: {_SECTION}.")
    for override in overrides:
        name, _, _ = override.partition("=")
        head, _, key = name.strip().partition(".")
        if head != _SECTION or not key:
            raise UsageError(f"--set {override!r}: must be of the form {_SECTION}.key=value")
        apply_override(raw, override)
        option = key.partition(".")[0]
        # `--corruptions` alone asks for them as they come; `--set` may say how.
        if option in said and said[option] != {}:
            raise UsageError(f"--{_OPTIONS.get(option, option)}: --set {override!r} says it as well; leave one out")
    if said.get("corruptions") == {} and raw[_SECTION].get("corruptions") is not None:
        del said["corruptions"]
    return checked(VerifyConfig, {**raw[_SECTION], **said}, f"--set {_SECTION}.")


def _adapter(
    raw: Mapping[str, Any], name: str, recipe: Path | str | None, given: AdapterConfig | Mapping[str, Any] | None
) -> AdapterConfig:
    """The section of that name, an option's value where both say the same."""
    section = raw.get(name) or {}
    if not isinstance(section, dict):
        raise UsageError(f"{recipe}: {name}: must be a section of keys, got {section!r}")
    checked(AdapterConfig, section, f"{recipe}: {name}.")
    said = given.model_dump(exclude_unset=True) if isinstance(given, AdapterConfig) else dict(given or {})
    option = f"--{name.removesuffix('adapter').replace('_', '-')}"
    checked(AdapterConfig, said, option)
    # A normalisation is said in one of two ways; the option's takes the place of the recipe's.
    if said.keys() & {"normalize", *_MEAN_AND_STD}:
        dropped = _MEAN_AND_STD if "normalize" in said else {"normalize"}
        section = {key: value for key, value in section.items() if key not in dropped}
    return checked(AdapterConfig, {**section, **said}, option)
