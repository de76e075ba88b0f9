"""Foreign files from refusal to verdict, by nothing but what the messages say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.core.model_file import sha256_of
from onnx import TensorProto, helper

from tests.e2e.conftest import FEW, edgeproof
from tests.e2e.vendor import as_vendors_ship

pytestmark = pytest.mark.slow


def verify(path: Path, out: Path, *more: str) -> tuple[int, dict[str, object], str]:
    arguments = [
        "verify",
        path,
        "--dataset",
        "digits",
        "--eps",
        "0.1",
        "--samples",
        "20",
        "--workers",
        "1",
    ]
    done = edgeproof(*arguments, "--out", out, *FEW, "--json", *more)
    return done.code, json.loads(done.out) if done.out else {}, done.err


def test_bits_through_an_adapter_are_those_of_the_model_itself(float_onnx: Path, tmp_path: Path):
    vendor = as_vendors_ship(float_onnx, tmp_path / "vendor.onnx")
    # Untold, it is judged on pixels that mean nothing to it: the finding names the option.
    code, report, _ = verify(vendor, tmp_path / "untold")
    (doubt,) = [each for each in report["doubts"] if "looks-unnormalised" in each]  # type: ignore[union-attr]
    assert (code, report["verdict"]) == (4, "inconclusive")
    told = re.search(r"verify it with (--normalize half)", doubt)
    assert told is not None
    code, report, _ = verify(vendor, tmp_path / "vendor", *told[1].split())
    (subject,) = report["subjects"]  # type: ignore[misc]
    assert (code, subject["adapter"]) == (0, ["mean 0.5", "std 0.5", "layout NHWC"])
    assert subject["given"]["sha256"] == sha256_of(vendor)
    adapted = tmp_path / "vendor" / subject["path"]
    assert subject["sha256"] == sha256_of(adapted)
    behind = f"onnxruntime: {vendor.name} behind its adapter (mean 0.5, std 0.5, layout NHWC), attacked as"
    assert behind in edgeproof("report", tmp_path / "vendor").out
    assert behind in (tmp_path / "vendor" / "summary.md").read_text()
    # What others show the pack to, and what is carried to a device, is the model with its adapter.
    pack = tmp_path / "vendor" / "adversarial" / "onnxruntime.npz"
    assert edgeproof("replay", pack, adapted).code == 0
    refused = edgeproof("replay", pack, vendor)
    assert (refused.code, f"show the pack to {adapted}" in refused.err) == (2, True)
    assert edgeproof("bundle", tmp_path / "vendor", "--out", tmp_path / "vendor.tar").code == 0
    device = edgeproof("replay", tmp_path / "vendor.tar", "--out", tmp_path / "device.json", cwd=tmp_path)
    assert device.code == 0, device.out
    verify(float_onnx, tmp_path / "own")
    theirs, own = (np.load(tmp_path / each / "verification" / "onnxruntime.npz") for each in ("vendor", "own"))
    assert 0 < own["square"].sum() < len(own["square"])
    for column in own.files:
        np.testing.assert_array_equal(theirs[column], own[column], err_msg=column)


def test_an_adapter_that_is_wrong_is_named(float_onnx: Path, tmp_path: Path):
    code, report, _ = verify(float_onnx, tmp_path / "proof", "--normalize", "half")
    (doubt,) = [each for each in report["doubts"] if "looks-unnormalised" in each]  # type: ignore[union-attr]
    assert (code, "verify it with no --scale, --mean, --std or --normalize" in doubt) == (4, True)


def test_logits_among_several_outputs(float_onnx: Path, tmp_path: Path):
    model = onnx.load(float_onnx)
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["shares"], axis=1))
    model.graph.output.append(helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["batch", 10]))
    onnx.save(model, tmp_path / "two.onnx")
    code, _, said = verify(tmp_path / "two.onnx", tmp_path / "proof")
    assert (code, said.count("\n")) == (2, 1)
    assert "name the logits with --output-name: logits [N, 10], shares [N, 10]" in said
    assert not (tmp_path / "proof").exists()
    code, report, _ = verify(tmp_path / "two.onnx", tmp_path / "proof", "--output-name", "logits")
    assert (code, report["subjects"][0]["adapter"]) == (0, ["output logits"])  # type: ignore[index]


def test_classes_in_another_order(float_onnx: Path, tmp_path: Path):
    model = onnx.load(float_onnx)
    for node in model.graph.node:
        node.output[:] = ["straight" if name == "logits" else name for name in node.output]
    rolled = onnx.numpy_helper.from_array(np.roll(np.arange(10), 1), "rolled")
    model.graph.initializer.append(rolled)
    model.graph.node.append(helper.make_node("Gather", ["straight", "rolled"], ["logits"], axis=1))
    onnx.save(model, tmp_path / "rolled.onnx")
    code, report, _ = verify(tmp_path / "rolled.onnx", tmp_path / "untold")
    (doubt,) = [each for each in report["doubts"] if "labels-permuted" in each]  # type: ignore[union-attr]
    lines = re.search(r"--label-map, a file of the lines ([\d, ]+)", doubt)
    assert (code, lines is not None) == (4, True)
    assert lines is not None
    # A map that is wrong leads to the right one as well.
    (tmp_path / "wrong.txt").write_text("\n".join(map(str, range(9, -1, -1))))
    _, report, _ = verify(tmp_path / "rolled.onnx", tmp_path / "wrong", "--label-map", str(tmp_path / "wrong.txt"))
    assert any(f"a file of the lines {lines[1]}" in each for each in report["doubts"])  # type: ignore[union-attr]
    (tmp_path / "map.txt").write_text(lines[1].replace(", ", "\n"))
    code, report, _ = verify(tmp_path / "rolled.onnx", tmp_path / "told", "--label-map", str(tmp_path / "map.txt"))
    assert (code, report["subjects"][0]["clean_accuracy"] > 0.9) == (0, True)  # type: ignore[index]
