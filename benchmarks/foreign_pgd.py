"""PGD on ONNX Runtime by central differences: an attack that shares nothing with the verifier it checks.

No twin, no autograd, no adapter: pixels are brought into the form that a file wants by numpy, and every gradient is
the difference of ONNX Runtime's own answers, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

STEPS, RESTARTS, WIDTHS = 20, 3, (0.01, 0.05)
CLASSES = 10


class Runtime:
    """A file on ONNX Runtime: pixels in [0, 1] `[N, C, H, W]` in, scores `[N, K]` out, larger for likelier classes.

    Args:
        path: the file.
        wants: what its producer says of it: scale, mean, std, BGR, output, offset.
    """

    def __init__(self, path: Path, wants: Mapping[str, Any]) -> None:
        import onnxruntime  # which starts threads, and what is forked beside a thread may never end

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # Those behind it are weights that may be overridden.
        self._input = self._session.get_inputs()[0]
        self._wants = wants

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Answer, in batches of the size that the file is for."""
        x = images[:, ::-1] if self._wants.get("BGR") else images
        size = self._input.shape[0]
        size = size if isinstance(size, int) and size > 0 else max(len(x), 1)
        found = [self._answer(x[start : start + size], size) for start in range(0, len(x), size)]
        return np.concatenate(found)

    def _answer(self, x: np.ndarray, size: int) -> np.ndarray:
        count, wants, shape, kind = len(x), self._wants, self._input.shape, self._input.type
        x = np.concatenate([x, np.repeat(x[:1], size - count, axis=0)])
        x = x * np.float32(wants.get("scale", 255 if "uint8" in kind else 1))
        row = (1, -1, 1, 1)
        x = (x - np.reshape(wants.get("mean", 0), row)) / np.reshape(wants.get("std", 1), row)
        if len(shape) == 2:
            x = x.reshape(size, -1)
        elif shape[1] != x.shape[1] and shape[3] == x.shape[1]:
            x = x.transpose(0, 2, 3, 1)
        x = np.round(x) if "uint8" in kind else x
        types = {"uint8": np.uint8, "float16": np.float16, "double": np.float64}
        x = np.ascontiguousarray(x, next((t for name, t in types.items() if name in kind), np.float32))
        answers = self._session.run(None, {self._input.name: x})
        return self._scores(answers, wants.get("offset", 0))[:count]

    def _scores(self, answers: list[Any], offset: int) -> np.ndarray:
        found = answers[self._wants.get("output", 0)]
        if isinstance(found, list):  # dictionaries from class to probability
            found = np.array([[row[key] for key in sorted(row)] for row in found])
        elif found.dtype.kind in "iu":
            found = np.eye(CLASSES)[found.reshape(-1)]
        scores = found.reshape(len(found), -1).astype(np.float64)
        if scores.min() >= 0 and np.allclose(scores.sum(1), 1, atol=1e-2):
            scores = np.log(np.maximum(scores, 1e-30))  # probabilities
        others = [column for column in range(scores.shape[1]) if not offset <= column < offset + CLASSES]
        return scores[:, [*range(offset, offset + CLASSES), *others]]


def margins(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far the right class is ahead of the best other one; at or below 0 where the answer may be wrong."""
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    return scores[rows, labels] - others.max(1)


def wrong(model: Runtime, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which images are answered otherwise."""
    return model(images).argmax(1) != labels


def gradient(model: Runtime, images: np.ndarray, labels: np.ndarray, width: float) -> np.ndarray:
    """Of the margin, by central differences in every pixel."""
    count, pixels = len(images), images[0].size
    moved = np.eye(pixels, dtype=np.float32).reshape(1, pixels, *images.shape[1:]) * np.float32(width)
    both = np.concatenate([images[:, None] + moved, images[:, None] - moved], axis=1)
    # Outside [0, 1] too: what counts is judged on images inside.
    found = margins(model(both.reshape(-1, *images.shape[1:])), np.repeat(labels, 2 * pixels))
    ahead, behind = found.reshape(count, 2, pixels).transpose(1, 0, 2)
    return ((ahead - behind) / (2 * width)).reshape(images.shape)


def fallen(model: Runtime, images: np.ndarray, labels: np.ndarray, eps: float) -> np.ndarray:
    """Which images have another one within `eps` (Linf) that is answered wrongly, as far as this attack finds it."""
    draw = np.random.default_rng(0)
    low, high = np.maximum(images - np.float32(eps), 0), np.minimum(images + np.float32(eps), 1)
    broken = wrong(model, images, labels)
    for restart in range(RESTARTS):
        x = images + draw.uniform(-eps, eps, images.shape).astype(np.float32) * (restart > 0)
        for step in range(STEPS):
            left = np.flatnonzero(~broken)
            if not len(left):
                return broken
            x = np.clip(x, low, high)
            slope = gradient(model, x[left], labels[left], WIDTHS[restart % len(WIDTHS)])
            # From eps down to a twentieth of it.
            length = np.float32(eps * 0.05 ** (step / (STEPS - 1)))
            x[left] = np.clip(x[left] - length * np.sign(slope).astype(np.float32), low[left], high[left])
            broken[left] = wrong(model, x[left], labels[left])
    return broken
