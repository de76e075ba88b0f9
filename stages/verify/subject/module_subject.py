"""Torch module under attack, as it is: its own answers, its own gradients, on its own device."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ....core.errors import EngineFailure, UsageError, raised
from ....targets.base import Images, Logits
from ...twin import load_twin
from .engine_module import AttackableEngine
from .guarded import Guarded
from .inner_logits import differentiable
from .subject import OpenedSubject, in_batches


@dataclass(frozen=True)
class ModuleSubject:
    """A torch module: float32 images `[N, C, H, W]` in [0, 1] to logits `[N, K]`, in eval mode.

    It runs in the process that attacks. An image at which it raises counts as not robust.

    Attributes:
        name: how the report calls it.
        module: of which every process attacks a copy; see `frozen_copy`.
        image_shape: channels, height, width.
        classes: number of classes.
        surrogate: an ONNX file whose gradients are tried besides.
    """

    name: str
    module: nn.Module
    image_shape: tuple[int, int, int]
    classes: int
    surrogate: Path | None = None

    def open(self) -> OpenedSubject:
        """Copy the module, and make the surrogate's twin.

        Raises:
            UsageError: it answers no logits of so many classes.
        """
        model = _Asked(copy.deepcopy(self.module))
        predict = Guarded(_guarding(model), self.classes)
        self._try(model)
        gradients: dict[str, nn.Module] = {"autograd": model} if differentiable(model, self.image_shape) else {}
        surrogate = None
        if self.surrogate is not None:
            twin = load_twin(self.surrogate)
            surrogate = in_batches(twin)
            gradients["surrogate"] = AttackableEngine(predict, twin)
            if "autograd" not in gradients:
                gradients["surrogate-alone"] = twin
        return OpenedSubject(
            predict,
            gradients,
            self.classes,
            surrogate=None if "autograd" in gradients else surrogate,
            doubts=frozenset() if gradients else frozenset({"no-gradients"}),
            guard=predict,
            fresh=self.predictor,
        )

    def predictor(self) -> Guarded:
        """Copy the module."""
        return Guarded(_guarding(_Asked(copy.deepcopy(self.module))), self.classes)

    def fingerprint(self, images: Images) -> str:
        """SHA-256 over the weights, and over the answers to some images with their gradients.

        Raises:
            UsageError: it answers no logits of so many classes.
        """
        with closing(self.open()) as opened:
            told: dict[str, Any] = {"answers": torch.from_numpy(opened.predict(images))}
            source = opened.gradient_sources.get("autograd")
            if source is not None:
                asked = torch.from_numpy(images).requires_grad_()
                with suppress(Exception):  # an image at which it raises counts as not robust, and is no reason to stop
                    (told["gradients"],) = torch.autograd.grad(source(asked).square().sum(), asked)
        return digest_of_tensors({**self.module.state_dict(), **{f" {name}": each for name, each in told.items()}})

    def _try(self, model: nn.Module) -> None:
        found = answered(model, self.image_shape)
        if found.shape != (2, self.classes) or not found.is_floating_point():
            raise UsageError(
                f"model: answers {str(found.dtype).removeprefix('torch.')} {list(found.shape)} to two images; "
                f"logits [2, {self.classes}] are wanted"
            )


def frozen_copy(module: nn.Module) -> nn.Module:
    """A copy in eval mode that wants no gradients of its weights; the module itself stays as it is.

    Raises:
        UsageError: it cannot be copied.
    """
    try:
        return copy.deepcopy(module).eval().requires_grad_(False)
    except Exception as error:  # theirs may fail in any way
        raise UsageError(
            f"model: the module cannot be copied ({raised(error)}); export it as ONNX, or give a function of images"
        ) from None


def answered(module: nn.Module, image_shape: tuple[int, int, int]) -> Tensor:
    """What a module answers to two grey images.

    Raises:
        UsageError: it raises, or answers no tensor.
    """
    model = module if isinstance(module, _Asked) else _Asked(module)
    images = torch.full((2, *image_shape), 0.5)
    try:
        with torch.no_grad():
            return model(images)
    except Exception as error:  # theirs may fail in any way
        raise UsageError(f"model: float32 images {list(images.shape)}: {raised(error)}") from None


def digest_of_tensors(tensors: Mapping[str, Any]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, such as a module's `state_dict`."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        if isinstance(value, Tensor):
            dense = value.detach().cpu().contiguous()
            digest.update(f"{name} {dense.dtype} {list(dense.shape)}\n".encode())
            digest.update(dense.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's first parameter or buffer; the CPU without any."""
    first = next(chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device


class _Asked(nn.Module):
    """A module that is asked with images of its own, on its own device, and answers float32 where they came from."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.device = device_of(module)

    def forward(self, x: Tensor) -> Tensor:
        # A clone: what a module does to its images in place, the attack must not see.
        try:
            answer = self.module(x.clone().to(self.device))
        except SystemExit as error:  # which would end the caller's own program
            raise RuntimeError(f"it asked to exit ({error.code})") from error
        if not isinstance(answer, Tensor):
            raise TypeError(f"the answer is a {type(answer).__name__}, and no tensor of logits [N, K]")
        answer = answer.to(x.device)
        return answer.float() if answer.is_floating_point() else answer


def _guarding(model: nn.Module) -> Any:
    """The module for `Guarded`: what it raises comes as an EngineFailure."""

    @torch.no_grad()
    def ask(images: Images) -> Logits:
        try:
            return model(torch.from_numpy(images)).numpy()
        except Exception as error:  # theirs may fail in any way
            raise EngineFailure(raised(error)) from error

    return ask
