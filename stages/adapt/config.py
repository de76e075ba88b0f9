"""Adapter settings: what a model wants of its images, and which of its answers are the logits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ...core.config import Config

Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]

Layout = Literal["NCHW", "NHWC", "NCWH", "NWHC"]

# Mean and standard deviation of the channels of images in [0, 1], red first.
NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "none": ((0.0,), (1.0,)),
    "half": ((0.5,), (0.5,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class AdapterConfig(Config):
    """What stands between pixels in [0, 1], `[N, C, H, W]`, and a model; and between its answers and logits `[N, K]`.

    The model gets `(scale * pixels - mean) / std`, its channels and axes in its own order. What is left out is found
    from the file and the data set where it can be.

    Attributes:
        input_name: the input that takes the images, where the others have values of their own.
        scale: what 1.0 is to the model, such as 255 (default: 255 for inputs of whole numbers, else 1).
        mean: what the model takes off each channel after the scale, in its own order of channels; or one for all.
        std: what it then divides by, likewise.
        normalize: a usual mean and std instead of these: imagenet, half ((x - 0.5) / 0.5) or none.
        channels: the order of the model's channels; BGR turns those of the data set around, GREY shows its one channel
            to a model of three.
        layout: the order of the model's axes (default: NCHW or NHWC, as its input's shape says); NCWH and NWHC are of
            models whose images lie on their side.
        input_dtype: the element type of the model's input, as a check; the file says it. Of whole numbers other than
            uint8 it says that they are pixels from 0 to 255, of int8 from -128 to 127.
        flatten: the model takes rows of numbers, [N, C * H * W], as its input's shape says; a check as well.
        output_name: the output that is the answer, where there are several.
        classes_offset: how many of the model's classes come before the data set's first, such as a background class.
        label_map: a text file with a line for each class of the data set, the model's number of that class.
        masked_classes: -inf is the logit of a class that is never answered; -10000 stands for it.
    """

    input_name: str | None = None
    scale: float | None = Field(default=None, ge=1e-6, le=1e6, allow_inf_nan=False)
    mean: tuple[Number, ...] | None = Field(default=None, min_length=1)
    std: tuple[Number, ...] | None = Field(default=None, min_length=1)
    normalize: Literal["imagenet", "half", "none"] | None = None
    channels: Literal["RGB", "BGR", "GREY"] = "RGB"
    layout: Layout | None = None
    input_dtype: (
        Literal[
            "float32",
            "float16",
            "bfloat16",
            "float64",
            "uint8",
            "int8",
            "uint16",
            "int16",
            "uint32",
            "int32",
            "uint64",
            "int64",
        ]
        | None
    ) = None
    flatten: bool = False
    output_name: str | None = None
    classes_offset: int = Field(default=0, ge=0)
    label_map: Path | None = None
    masked_classes: bool = False

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, values: Any) -> Any:
        """Numbers of a command line stand in one word, `0.5,0.5,0.5`; one for all may stand alone."""
        if not isinstance(values, dict):
            return values
        found = {key: values[key] for key in ("mean", "std") if key in values}
        lists = {key: value.split(",") for key, value in found.items() if isinstance(value, str)}
        alone = {key: [value] for key, value in found.items() if isinstance(value, int | float) and value is not True}
        return {**values, **lists, **alone}

    @model_validator(mode="after")
    def _consistent(self) -> AdapterConfig:
        if self.normalize is not None and (self.mean is not None or self.std is not None):
            raise ValueError("normalize: says the mean and the std; leave these out")
        if self.std is not None and not all(value > 0 for value in self.std):
            raise ValueError("std: must be above 0")
        return self

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std in the model's own order of channels."""
        if self.normalize is not None:
            mean, std = NORMALIZATIONS[self.normalize]
            return (mean[::-1], std[::-1]) if self.channels == "BGR" else (mean, std)
        return self.mean or (0.0,), self.std or (1.0,)

    def first_set(self) -> str:
        """The option of a key that was set, for messages."""
        return next(iter(self.model_dump(exclude_defaults=True)), "adapter").replace("_", "-")
