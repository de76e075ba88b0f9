"""Engine as a MAITE image classification model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError
from ...stages.data.labelled import in_floats
from ...targets.base import EngineFile, targets


class Model:
    """An engine by the protocol `maite.protocols.image_classification.Model`.

    Args:
        path: an ONNX file, or an engine file of another runtime: float32 images `[N, C, H, W]` in [0, 1] to logits. A
            file that wants other pixels is the proof's `adapted/onnxruntime/model.onnx`.
        target: the runtime that runs it.
        index2label: the classes' names.

    Raises:
        UsageError: the file is missing, or no such model.
        BackendMissing: the runtime is not installed.
    """

    def __init__(
        self, path: str | Path, *, target: str = "onnxruntime", index2label: Mapping[int, str] | None = None
    ) -> None:
        runtime = targets[target]
        runtime.check_available()
        if not Path(path).is_file():
            raise UsageError(f"{path}: no such file")
        self._engine = runtime.load(EngineFile.of(target, Path(path)), threads=1)
        self.metadata: dict[str, Any] = {
            "id": Path(path).name,
            **({} if index2label is None else {"index2label": dict(index2label)}),
        }

    def __call__(self, batch: Sequence[Any], /) -> list[NDArray[np.float32]]:
        """Answer images `(C, H, W)`, uint8 or floats in [0, 1], with logits `(K,)` each."""
        if not len(batch):
            return []
        images = in_floats(np.stack([np.asarray(image) for image in batch]))
        return list(self._engine(np.ascontiguousarray(images, np.float32)))
