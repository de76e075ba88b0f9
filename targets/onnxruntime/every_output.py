"""ONNX Runtime session of any graph of one input: every output by name, for models that are no classifiers yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base import Images


class EveryOutput:
    """A session on the CPU; an opener for `OwnProcess` is `partial(EveryOutput, model)`.

    Args:
        model: the serialized model.

    Raises:
        Exception: the runtime's own, of several kinds.
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime  # which starts a thread

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])

    def __call__(self, images: Images) -> dict[str, np.ndarray]:
        """Answer images `[N, C, H, W]`, repeated to the batch that the graph may insist on; tensors alone."""
        (entry,) = self._session.get_inputs()
        batch = entry.shape[0] if isinstance(entry.shape[0], int) else len(images)
        shown = np.resize(images, (max(batch, 1), *images.shape[1:]))
        names = [output.name for output in self._session.get_outputs()]
        found: Sequence[Any] = self._session.run(names, {entry.name: shown})
        answers = zip(names, found, strict=True)
        return {name: each for name, each in answers if isinstance(each, np.ndarray) and each.dtype != object}
