"""Shapes inferred without the weights, against those that ONNX infers with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from edgeproof.stages.twin.inference import inferred_shapes
from onnx import helper

from tests.stages.twin.graphs import model


def test_they_are_those_of_the_whole_model(float_onnx: Path, int8_onnx: Path):
    for path in (float_onnx, int8_onnx):
        whole = onnx.load(path)
        before = whole.SerializeToString()
        expected = onnx.shape_inference.infer_shapes(whole, data_prop=True).graph.value_info
        assert {each.name: each.type for each in inferred_shapes(whole).value_info} == {
            each.name: each.type for each in expected
        }
        assert whole.SerializeToString() == before


def test_large_weights_are_left_out_and_shapes_are_read():
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["wide"]),
        helper.make_node("Reshape", ["wide", "target"], ["y"]),
        helper.make_node("Identity", ["y"], ["z"]),
    ]
    stored = {"weight": np.zeros((8, 4096), np.float32), "target": np.array([2, -1, 64])}
    found = inferred_shapes(model(nodes, inputs={"x": [2, 8]}, outputs=["z"], initializers=stored))
    shapes = {each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in found.value_info}
    assert shapes["y"] == [2, 64, 64]
    assert found.ByteSize() < 10_000


def test_what_makes_no_sense_has_no_shapes():
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["y"]), helper.make_node("Identity", ["y"], ["z"])]
    proto = model(nodes, inputs={"x": [2, 8]}, outputs=["z"], initializers={"weight": np.zeros((7, 3), np.float32)})
    assert not [each for each in inferred_shapes(proto).value_info if each.type.tensor_type.shape.dim]
