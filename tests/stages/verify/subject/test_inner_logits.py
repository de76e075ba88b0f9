"""What stands in the way of the gradients of a graph: a layer more than the logits', and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.stages.adapt import AdapterConfig, adapt
from edgeproof.stages.data import Dataset
from edgeproof.stages.twin import load_twin
from edgeproof.stages.verify.subject.inner_logits import inner_logits
from edgeproof.stages.verify.subject.without_masks import unmasked
from edgeproof.targets.onnxruntime.target import open_session
from onnx import TensorProto, helper

from tests.stages.twin.graphs import model
from tests.stages.verify.test_gallery import gallery

SHAPE = (1, 8, 8)


def inner_of(path: Path, *, classes: int = 10):
    session = open_session(path, optimise=False)
    return inner_logits(onnx.load(path), lambda images: session.run(None, {"images": images})[0], SHAPE, classes)


def test_logits_are_found_behind_one_more_layer(float_onnx: Path, digits: Dataset, tmp_path: Path):
    images = torch.from_numpy(digits.test.images[:50])
    found = inner_of(gallery.one_more_layer(float_onnx, tmp_path / "m.onnx"))
    assert found is not None
    assert torch.allclose(found(images), load_twin(float_onnx)(images), atol=1e-5)


@pytest.mark.parametrize("squash", ["Softmax", "Sigmoid"])
def test_logits_of_shares_in_another_order_are_in_that_order(
    float_onnx: Path, digits: Dataset, tmp_path: Path, squash: str
):
    """As behind an adapter that puts a background class, or a vendor's order, in its place."""
    shares, order = onnx.load(float_onnx), np.random.default_rng(0).permutation(10)
    shares.graph.node.append(helper.make_node(squash, [shares.graph.output[0].name], ["shares"]))
    shares.graph.initializer.append(onnx.numpy_helper.from_array(order, "order"))
    shares.graph.node.append(helper.make_node("Gather", ["shares", "order"], ["ordered"], axis=1))
    del shares.graph.output[:]
    shares.graph.output.append(helper.make_tensor_value_info("ordered", TensorProto.FLOAT, ["N", 10]))
    onnx.save(shares, tmp_path / "shares.onnx")
    images = torch.from_numpy(digits.test.images[:50])
    found = inner_of(tmp_path / "shares.onnx")
    assert found is not None
    assert torch.allclose(found(images), load_twin(float_onnx)(images)[:, order], atol=1e-5)


def test_logits_of_an_adapted_model_of_labels(float_onnx: Path, digits: Dataset, tmp_path: Path):
    """The adapter's rows have one class more than the layer that the labels come from."""
    labels = onnx.load(float_onnx)
    labels.graph.node.append(helper.make_node("ArgMax", [labels.graph.output[0].name], ["label"], axis=1, keepdims=0))
    del labels.graph.output[:]
    labels.graph.output.append(helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N"]))
    onnx.save(labels, tmp_path / "labels.onnx")
    rows = adapt(tmp_path / "labels.onnx", AdapterConfig(), SHAPE, 10, digits.test.images)
    assert rows is not None
    rows.save(tmp_path / "rows.onnx")
    images = torch.from_numpy(digits.test.images[:50])
    found = inner_of(tmp_path / "rows.onnx", classes=11)
    assert found is not None
    assert torch.allclose(found(images)[:, :10], load_twin(float_onnx)(images), atol=1e-5)
    assert (found(images).argmax(1) < 10).all()


@pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.DOUBLE, np.float64), (TensorProto.FLOAT16, np.float16)])
def test_logits_of_another_type_become_float32(tmp_path: Path, kind: int, dtype: type):
    """Attacks on them reckon with the images, which are float32."""
    nodes = [
        helper.make_node("Flatten", ["images"], ["rows"]),
        helper.make_node("Cast", ["rows"], ["wide"], to=kind),
        helper.make_node("MatMul", ["wide", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["shares"]),
        helper.make_node("Cast", ["shares"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(dtype)
    onnx.save(model(nodes, inputs={"images": ["n", *SHAPE]}, initializers={"w": weights}), tmp_path / "m.onnx")
    found = inner_of(tmp_path / "m.onnx")
    assert found is not None
    images = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    logits = found(images)
    assert isinstance(logits, torch.Tensor)
    assert logits.dtype == torch.float32
    np.testing.assert_allclose(logits, images.numpy().reshape(5, 64) @ weights.astype(np.float32), rtol=1e-2, atol=5e-2)


def test_nothing_is_looked_for_where_nothing_hides(float_onnx: Path):
    assert inner_of(float_onnx) is None
    assert unmasked(onnx.load(float_onnx)) is None


def test_a_choice_between_sizes_is_no_mask():
    """PyTorch's exporter writes `expand(batch, -1)` so, and ONNX Runtime folds all of it but the choice."""
    nodes = [
        helper.make_node("Shape", ["images"], ["sizes"]),
        helper.make_node("Equal", ["sizes", "minus"], ["asked"]),
        helper.make_node("Where", ["asked", "ones", "sizes"], ["target"]),
        helper.make_node("Expand", ["images", "target"], ["y"]),
    ]
    values = {"minus": np.array([-1, -1, -1, -1]), "ones": np.array([1, 1, 1, 1])}
    assert unmasked(model(nodes, inputs={"images": ["n", *SHAPE]}, initializers=values)) is None


def test_masks_that_the_image_decides_on_are_taken_away(float_onnx: Path, digits: Dataset, tmp_path: Path):
    images = torch.from_numpy(digits.test.images[:50])
    path = gallery.hidden_winners(float_onnx, tmp_path / "m.onnx")
    found, masked, plain = unmasked(onnx.load(path)), load_twin(path), load_twin(float_onnx)
    assert found is not None
    assert torch.allclose(found(images), plain(images), atol=1e-5)
    assert not np.allclose(masked(images).detach(), plain(images).detach(), atol=1e-2)
