"""Adapted models of a request, in files of their own while it is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...stages.adapt import Adapted, AdapterConfig, adapt
from ...stages.data import Dataset

MODEL = "model.onnx"


@dataclass
class AdaptedModels:
    """The models that need something around them.

    Attributes:
        scratch: a folder for their files.
        data: the data set that they are adapted to.
        found: by their subjects' names.
    """

    scratch: Path
    data: Dataset
    found: dict[str, Adapted] = field(default_factory=dict)

    def file_of(self, name: str, path: Path, config: AdapterConfig) -> Path:
        """The file to run: the model's own, or one in the scratch folder that has its adapter around it.

        Raises:
            ModelError: it is no classifier of such images.
            UsageError: what is known of it contradicts it.
        """
        data = self.data
        adapted = adapt(path, config, data.image_shape, len(data.class_names), data.test.images)
        if adapted is None:
            return path
        self.found[name] = adapted
        file = self.scratch / name / MODEL
        file.parent.mkdir(parents=True)
        adapted.save(file)
        return file
