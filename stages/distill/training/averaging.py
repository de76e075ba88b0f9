"""Weight averaging of the student: exponential (EMA) or equal (SWA), with BatchNorm statistics of its own.

Sources: SWA: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018
(arXiv 1803.05407); both against robust overfitting: Rebuffi et al., "Fixing Data Augmentation to Improve Adversarial
Robustness" (arXiv 2103.01946). The arithmetic is torch.optim.swa_utils'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn, update_bn

from ....core.config import Config
from ....core.errors import StageError


class Averaging(Config):
    """Whether and how weights are averaged.

    Attributes:
        kind: `ema` averages after every step, newer weights counting more; `swa` averages the weights at the end of
            every epoch, all alike; `none` does not average.
        decay: EMA's, per step: the average covers about the last 1 / (1 - decay) steps.
        start: the fraction of the epochs after which averaging begins.
    """

    kind: Literal["ema", "swa", "none"] = "none"
    decay: float = Field(default=0.999, ge=0, lt=1)
    start: float = Field(default=0.5, ge=0, lt=1)

    @property
    def every(self) -> Literal["step", "epoch"]:
        """When the average is to be updated."""
        return "step" if self.kind == "ema" else "epoch"


class WeightAverage:
    """A running average of a model's weights.

    An average of weights has no BatchNorm statistics that fit it: until `recompute_statistics`, `module` has those
    of the model at the last update. Between that and the next update, `module` is a classifier like any other.

    EMA's decay in the update after t others is min(decay, (1 + t) / (10 + t)), so that a short training does not end
    near its first weights: TensorFlow's ExponentialMovingAverage with `num_updates` (timm's ModelEmaV3 has a warm-up
    too, of another form).

    Args:
        model: the model that learns, as it is before any wrapper; it is copied.
        config: its kind is not `none`.

    Raises:
        ValueError: the kind is `none`.
    """

    def __init__(self, model: nn.Module, config: Averaging) -> None:
        if config.kind == "none":
            raise ValueError("there is no average of kind 'none'")
        self._decay = config.decay
        self._average = AveragedModel(model, multi_avg_fn=self._ema if config.kind == "ema" else get_swa_multi_avg_fn())
        self._average.requires_grad_(False).eval()

    @property
    def module(self) -> nn.Module:
        """The averaged model, in eval mode and without gradients; the model's copy until the first update."""
        return self._average.module

    @property
    def begun(self) -> bool:
        """Whether there has been an update."""
        return int(self._average.n_averaged) > 0

    def update(self, model: nn.Module) -> None:
        """Take the model's weights into the average: at every step for EMA, at the end of every epoch for SWA.

        Args:
            model: the model that learns, wrapped or not.
        """
        self._average.update_parameters(model)

    def recompute_statistics(self, batches: Iterable[Tensor]) -> None:
        """Replace the running mean and variance of every BatchNorm by their averages over batches.

        A model without BatchNorm is left alone, and no batch is asked for. Every process must see the same batches, or
        their averages will differ.

        Args:
            batches: images `[N, C, H, W]` on the model's device, augmented or attacked as it shall know them.

        Raises:
            StageError: there is no batch.
        """
        seen = 0

        def counted() -> Iterator[Tensor]:
            nonlocal seen
            for batch in batches:
                seen += 1
                yield batch

        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.module.modules()):
            update_bn(counted(), self.module)
            if not seen:
                raise StageError("BatchNorm statistics of averaged weights need at least one batch of images")

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates, as tensors."""
        return self._average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned: what follows is bit-equal to an average never interrupted."""
        self._average.load_state_dict(state)

    def _ema(
        self,
        averaged: tuple[Tensor, ...] | list[Tensor],
        current: tuple[Tensor, ...] | list[Tensor],
        _: Tensor | int,
    ) -> None:
        # The count is read from where it is kept, on the CPU, not from its copy on the device: no wait.
        count = int(self._average.n_averaged)
        get_ema_multi_avg_fn(min(self._decay, (1 + count) / (10 + count)))(averaged, current, count)
