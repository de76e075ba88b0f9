"""Training settings: which method, and how its student is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ....core.config import Config, what_is_wrong
from ....core.errors import UsageError
from ....core.registry import nearest
from ...models import ModelName
from ..augment import Augmentations, LateAugment, compose
from ..inner import InnerConfig
from ..method import Method, MethodConfig, methods
from ..plugin import Plugin, plugins
from .averaging import Averaging
from .awp import AwpConfig

# One entry of `plugins`: a name, or a name with its options.
PluginChoice = str | dict[str, dict[str, Any]]


class TrainConfig(Config):
    """How a model is trained.

    Attributes:
        method: a registered method; `options` are that method's own.
        plugins: what modifies the method, in this order: `[mmard]`, or with options `[{mmard: {outer: false}}]`.
        peer: the peer's model, for methods that train one; the student's own when left out.
        epochs: passes over the training split.
        batch_size: images per step, over all processes.
        accumulate: parts that a process cuts its share of the batch into, to save memory. BatchNorm and batch-wide
            weights (SAAD) see a part at a time.
        learning_rate: the peak rate of SGD.
        momentum: of SGD.
        nesterov: whether the momentum looks ahead.
        weight_decay: of SGD.
        clip_norm: the largest norm of the gradient; longer ones are shortened.
        schedule: `cosine` decays to zero over all steps, `onecycle` warms up first, `multistep` divides the
            rate by ten at each milestone (a fraction of the epochs), `constant` leaves it.
        milestones: of the `multistep` schedule.
        inner: the inner maximisation of the training loss.
        augment: augmentations of every batch, in this order.
        late_augment: others that replace them in the later epochs.
        average: averaged weights, which are then what is validated and kept.
        awp: adversarial weight perturbation.
        warm_start: weights to start from, instead of random ones.
        precision: `32`, or `bf16-mixed`.
        channels_last: memory layout of the convolutions.
        fold: attack a copy of the student whose BatchNorm is folded away, and ask the teacher in the same form.
        compile: `torch.compile` those copies.
        selection_steps: PGD steps by which the best epoch is chosen, on the validation split.
        patience: stop when the validation figure has not risen for so many epochs (robust overfitting).
        seed: of weights, order, augmentation and starts.
    """

    method: Annotated[str, AfterValidator(methods.check)]
    options: dict[str, object] = Field(default_factory=dict, validate_default=True)
    plugins: tuple[PluginChoice, ...] = ()
    peer: ModelName | None = None
    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=128, ge=2)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-4, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)
    schedule: Literal["cosine", "onecycle", "multistep", "constant"] = "onecycle"
    milestones: tuple[float, ...] = (0.5, 0.75)
    inner: InnerConfig = InnerConfig()
    augment: Augmentations = ()
    late_augment: LateAugment | None = None
    average: Averaging = Averaging()
    awp: AwpConfig | None = None
    warm_start: Path | None = None
    precision: Annotated[Literal["32", "bf16-mixed"], BeforeValidator(lambda said: "32" if said == 32 else said)] = "32"
    channels_last: bool = True
    fold: bool = True
    compile: bool = False
    selection_steps: int = Field(default=20, ge=1)
    patience: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)

    # Whether the validation's PGD counts every point that it visits; see `pgd_accuracy`.
    every_point: ClassVar[bool] = False

    @field_validator("options")
    @classmethod
    def _options_of_the_method(cls, options: dict[str, object], info: ValidationInfo) -> dict[str, object]:
        if "method" not in info.data:  # its own error is reported already
            return options
        return checked_options(methods[info.data["method"]].Config, options)

    @field_validator("plugins", mode="before")
    @classmethod
    def _names_or_options(cls, choices: Any) -> Any:
        for choice in choices if isinstance(choices, (list, tuple)) else ():
            options = list(choice.values()) if isinstance(choice, dict) else []
            if not isinstance(choice, str) and not (options and all(isinstance(each, dict) for each in options)):
                raise ValueError(f"an entry is a plugin's name, or {{name: {{option: value}}}}, got {choice!r}")
        return choices

    @field_validator("plugins")
    @classmethod
    def _known_plugins(cls, choices: tuple[PluginChoice, ...]) -> tuple[PluginChoice, ...]:
        checked: dict[str, dict[str, object]] = {}
        for choice in choices:
            entries = {choice: {}} if isinstance(choice, str) else choice
            for name, options in entries.items():
                plugins.check(name)
                if name in checked:
                    raise ValueError(f"{name}: is there twice")
                try:
                    checked[name] = checked_options(plugins[name].Config, options)
                except ValidationError as error:
                    problem = error.errors()[0]
                    path = ".".join(str(part) for part in problem["loc"])
                    raise ValueError(f"{name}.{path}: {what_is_wrong(problem)}, got {problem['input']!r}") from None
                except ValueError as error:
                    raise ValueError(f"{name}.{error}") from None
        return tuple({name: options} for name, options in checked.items())

    @model_validator(mode="after")
    def _plugins_have_their_teacher(self) -> TrainConfig:
        for name in self.plugin_options:
            if plugins[name].needs_teacher and "teacher" not in self.needs:
                raise ValueError(f"plugins: {name!r} needs a teacher, and the method {self.method!r} has none")
        return self

    @property
    def plugin_options(self) -> Mapping[str, dict[str, Any]]:
        """The plug-ins in their order, each with its options."""
        return {
            name: options for choice in self.plugins if isinstance(choice, dict) for name, options in choice.items()
        }

    @property
    def method_config(self) -> MethodConfig:
        """The options as the method's own config model."""
        return methods[self.method].Config.model_validate(self.options)

    @property
    def needs(self) -> frozenset[str]:
        """The networks that the method needs beside the student."""
        return frozenset(methods[self.method].needs(self.method_config))

    def check_images(self, image_shape: tuple[int, int, int], where: str) -> None:
        """See that the augmentations suit images of shape (C, H, W).

        Raises:
            UsageError: a number of pixels is too large for them.
        """
        late = () if self.late_augment is None else self.late_augment.operations
        for key, entries in (("augment", self.augment), ("late_augment.operations", late)):
            try:
                compose(entries).check(image_shape)
            except UsageError as error:
                raise UsageError(f"{where}.{key}: {error}") from None

    def make_plugins(self) -> list[Plugin[Any]]:
        """Make the plug-ins anew."""
        return [
            plugins[name](plugins[name].Config.model_validate(options)) for name, options in self.plugin_options.items()
        ]

    @property
    def method_class(self) -> type[Method[Any]]:
        """The registered method."""
        return methods[self.method]


def checked_options(config: type[Config], options: dict[str, object]) -> dict[str, object]:
    """Return options with the defaults filled in.

    Raises:
        ValueError: an option that the config does not know, or a wrong value.
    """
    for name in options:
        if name not in config.model_fields:
            known = ", ".join(config.model_fields)
            raise ValueError(f"{name}: unknown option{nearest(name, config.model_fields)} (known: {known})")
    return config.model_validate(options).model_dump()
