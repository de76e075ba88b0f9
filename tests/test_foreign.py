"""The benchmark of foreign files: its list names what its scripts make, and its attack finds what there is to find."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from tests.shared import ROOT

PRODUCERS = ROOT / "benchmarks" / "foreign_producers"
TABLE = yaml.safe_load((PRODUCERS / "kinds.yaml").read_text())


def attack() -> ModuleType:
    spec = importlib.util.spec_from_file_location("foreign_pgd", ROOT / "benchmarks" / "foreign_pgd.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("producer", TABLE["producers"])
def test_the_list_names_what_the_script_makes(producer: str):
    about = TABLE["producers"][producer]
    assert about["environment"] in TABLE["environments"]
    tree = ast.parse((PRODUCERS / f"{producer}.py").read_text())
    (made,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and ast.unparse(node.targets[0]) == "FILES"
    ]
    assert {ast.literal_eval(key) for key in made.keys if key is not None} == set(about["files"])


def linear(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A linear classifier of `[N, 1, 4, 4]` in ONNX; its weights `[16, 10]` and biases."""
    rng = np.random.default_rng(0)
    weights, biases = rng.normal(size=(16, 10)).astype(np.float32), rng.normal(size=10).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["rows"]), helper.make_node("Gemm", ["rows", "w", "b"], ["y"])]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 4, 4])]
    answers = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])]
    stored = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(biases, "b")]
    graph = helper.make_graph(nodes, "linear", values, answers, stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return weights, biases


def test_the_attack_finds_every_sample_that_a_linear_model_loses(tmp_path: Path):
    pgd, (weights, biases) = attack(), linear(tmp_path / "linear.onnx")
    model = pgd.Runtime(tmp_path / "linear.onnx", {})
    # Far from 0 and 1, so that the ball is whole and the worst case has a closed form.
    images = np.random.default_rng(1).uniform(0.3, 0.7, (40, 1, 4, 4)).astype(np.float32)
    logits = images.reshape(40, 16) @ weights + biases
    np.testing.assert_allclose(model(images), logits, rtol=1e-5, atol=1e-5)
    labels, eps = logits.argmax(1), 0.02
    margin = logits[np.arange(40), labels][:, None] - logits
    reach = eps * np.abs(weights.T[labels][:, None] - weights.T[None]).sum(2)
    falls = ((margin < reach) & (np.arange(10) != labels[:, None])).any(1)
    assert 5 < falls.sum() < 35
    np.testing.assert_array_equal(pgd.fallen(model, images, labels, eps), falls)
