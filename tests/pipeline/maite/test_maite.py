"""MAITE's protocols, held against MAITE's own types and its own evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import DataConfig, load_dataset

from edgeproof import verify
from edgeproof.maite import Dataset, Model


class Accuracy:
    """MAITE's own example of a metric."""

    def __init__(self) -> None:
        self.metadata = {"id": "accuracy"}
        self.reset()

    def reset(self) -> None:
        self.right: list[bool] = []

    def update(self, predicted: Sequence[Any], targets: Sequence[Any], _: Sequence[Any], /) -> None:
        self.right += list(np.stack(predicted).argmax(1) == np.stack(targets).argmax(1))

    def compute(self) -> dict[str, float]:
        return {"accuracy": float(np.mean(self.right))}


def test_maite_evaluates_an_engine_on_a_data_set(float_onnx: Path):
    """The accuracy that MAITE finds is that of ONNX Runtime on the same images."""
    tasks = pytest.importorskip("maite.tasks")
    protocols = pytest.importorskip("maite.protocols.image_classification")
    model, data = Model(float_onnx, index2label={0: "zero"}), Dataset("digits")
    assert isinstance(model, protocols.Model)
    assert isinstance(data, protocols.Dataset)
    metric, _, _ = tasks.evaluate(model=model, dataset=data, metric=Accuracy(), batch_size=100)[:3]
    test = load_dataset(DataConfig(dataset="digits")).test
    session = onnxruntime.InferenceSession(float_onnx, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: test.images})
    assert metric["accuracy"] == pytest.approx(float((np.asarray(logits).argmax(1) == test.labels).mean()))


def test_a_datum_is_an_image_its_class_and_its_row():
    data, test = Dataset("digits"), load_dataset(DataConfig(dataset="digits")).test
    assert len(data) == len(test)
    image, target, about = data[7]
    assert np.array_equal(image, test.images[7])
    assert (target.argmax(), target.sum()) == (test.labels[7], 1)
    assert about == {"id": int(test.index[7])}
    assert data.metadata["index2label"][3] == "3"
    with pytest.raises(IndexError):
        data[len(data)]


def test_images_of_bytes_are_those_of_floats(float_onnx: Path):
    model = Model(float_onnx)
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), np.uint8)
    assert np.array_equal(model(list(images)), model(list(images / np.float32(255))))
    assert model([]) == []
    with pytest.raises(UsageError, match=r"nothing\.onnx: no such file"):
        Model("nothing.onnx")


class InLists:
    """A model of somebody else's by the protocol: it takes lists, and refuses arrays."""

    def __init__(self, weights: np.ndarray) -> None:
        self.metadata = {"id": "their model"}
        self._weights = weights

    def __call__(self, batch: Sequence[Any], /) -> Sequence[Any]:
        assert isinstance(batch, list)
        return [np.asarray(image).reshape(-1) @ self._weights for image in batch]


def test_their_models_and_data_sets_are_verified_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    test = load_dataset(DataConfig(dataset="digits")).test
    weights = np.linalg.lstsq(test.images.reshape(len(test), -1), np.eye(10)[test.labels])[0].astype(np.float32)
    few = ["verify.square_queries=20", "verify.routes=[square]"]
    found = verify(InLists(weights), Dataset("digits"), eps=0.02, samples=12, curve=False, overrides=few)
    assert found.folder.name.startswith("verify-their-model-")
    (subject,) = found.subjects
    assert subject["path"] == "their-model"
    frame = found.to_pandas()
    assert found.verdict == "inconclusive"  # no gradients
    images = test.images[frame["row"]]  # in the order of the data set that was given
    assert list(frame["clean"]) == list((images.reshape(12, -1) @ weights).argmax(1) == frame["label"])
