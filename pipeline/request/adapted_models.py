"""Adapted models of a request, in files of their own while it is checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import ModelError, UsageError
from ...core.onnx_reader import read_onnx
from ...stages.adapt import Adapted, AdapterConfig, adapt, noted_classes
from ...stages.data import Dataset
from ...targets.signature import read_signature
from .image_reading import other_reading

MODEL = "model.onnx"
_KEYS = "|".join(name.replace("_", "-") for name in AdapterConfig.model_fields)
_OPTION = re.compile(rf"--(?=({_KEYS})\b)")


def surrogate_options(text: str) -> str:
    """A message with the adapter's options as they are called for the surrogate: `--surrogate-layout`."""
    return _OPTION.sub("--surrogate-", text)


def prepared(engine: str, graph: Path) -> str:
    """The way out where an engine that is no ONNX file wants other pixels: the end of a message."""
    return (
        f"no adapter stands around {engine}: build the engine of {graph} with one by `edgeproof compile {graph}`, or "
        f"verify a function that prepares its pixels, with --surrogate {graph}"
    )


@dataclass
class AdaptedModels:
    """The models that need something around them.

    Attributes:
        scratch: a folder for their files.
        data: the data set that they are adapted to.
        name: what the user calls it.
        found: by their subjects' names.
    """

    scratch: Path
    data: Dataset
    name: str
    found: dict[str, Adapted] = field(default_factory=dict)

    def file_of(self, name: str, path: Path, config: AdapterConfig, *, columns: int = 0) -> Path:
        """The file to run: the model's own, or one in the scratch folder that has its adapter around it; see `adapt`.

        Raises:
            ModelError: it is no classifier of such images.
            UsageError: what is known of it contradicts it.
        """
        adapted = self._adapted(path, config, columns)
        if adapted is None:
            return path
        self.found[name] = adapted
        file = self.scratch / name / MODEL
        file.parent.mkdir(parents=True)
        adapted.save(file)
        return file

    def check_graph(self, graph: Path, name: str, engine: str) -> None:
        """Hold the graph of an engine of another format against the data set; around such an engine nothing is put.

        Args:
            graph: the ONNX file that it was built from.
            name: its subject's.
            engine: as the user calls it.

        Raises:
            UsageError: its images or its classes are others; where an adapter would help, the message says how.
        """
        try:
            self.check(graph, graph, name)
        except UsageError as error:
            adapted = self._adapted(graph, AdapterConfig(), 0)
            if adapted is None:
                raise
            raise UsageError(f"{error} ({', '.join(adapted.words)}); {prepared(engine, graph)}") from None

    def _adapted(self, path: Path, config: AdapterConfig, columns: int) -> Adapted | None:
        data = self.data
        try:
            return adapt(path, config, data.image_shape, len(data.class_names), data.test.images, columns=columns)
        except ModelError as error:
            raise ModelError(f"{error}{other_reading(path, data)}") from None

    def check(self, path: Path, file: Path, name: str) -> None:
        """Hold a model against the data set.

        Args:
            path: the model's own file, for messages.
            file: the one to run.
            name: its subject's.

        Raises:
            UsageError: its images or its classes are others.
        """
        signature, data = read_signature(file), self.data
        if signature.image_shape != data.image_shape:
            raise UsageError(
                f"{path}: its images are {signature.image_shape}, those of dataset {self.name!r} are {data.image_shape}"
            )
        classes, named = signature.classes, len(data.class_names)
        # An adapter may stand in the file already.
        more = name in self.found and self.found[name].others
        more = more or noted_classes(read_onnx(file, weights=False)) == named
        if classes != named and not (more and classes > named):
            highest = int(data.test.labels.max())
            hint = ""
            if highest >= classes:
                hint = f"; a test image has the label {highest}, the model's go from 0 to {classes - 1}"
                if highest == classes and data.test.labels.min() == 1:
                    hint += "; the labels begin at 1, subtract one"
            elif self.name == "npz":
                hint = f"; name all {classes} in its class_names, or say which are meant with --label-map FILE"
            elif classes > named:
                hint = "; say which of them are meant with --classes-offset or --label-map FILE"
            raise UsageError(f"{path}: its classes are {classes}, those of dataset {self.name!r} are {named}{hint}")
