"""What `verify` is asked to prove: models, data and settings that do not go together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.core.model_file import sha256_of
from edgeproof.pipeline.results.finished_run import finished_report
from edgeproof.pipeline.store.folder_guard import check_own
from onnx import TensorProto, helper, numpy_helper

from edgeproof import build, verify

ROOT = Path(__file__).parents[3]
PIXELS, CLASSES = 12, 3


def linear_model(path: Path, image: tuple[int, int, int]) -> Path:
    """An ONNX file of one layer for images of twelve pixels."""
    weight = np.random.default_rng(0).normal(size=(PIXELS, CLASSES)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *image])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(weight, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def images_of(folder: Path, labels: list[int]) -> str:
    images = np.random.default_rng(1).integers(0, 256, (len(labels), 3, 2, 2), np.uint8)
    np.savez(folder / "own.npz", images=images, labels=labels)
    return str(folder / "own.npz")


@pytest.mark.parametrize(
    ("labels", "image", "words"),
    [
        ([0, 1, 7], (3, 2, 2), "its classes are 3, .* a test image has the label 7, the model's go from 0 to 2"),
        ([1, 2, 3], (3, 2, 2), "a test image has the label 3, .* from 0 to 2; the labels begin at 1, subtract one"),
        ([0, 1, 1], (3, 2, 2), "its classes are 3, those of dataset 'npz' are 2; name all 3 in its class_names"),
        ([0, 1, 2], (3, 4, 1), r"its images are \[batch, 3, 4, 1\], those of the data set \[N, 3, 2, 2\]$"),
        ([0, 1, 2], (1, 2, 2), r"\[N, 3, 2, 2\]; the model takes grey images, make those of npz grey$"),
    ],
)
def test_a_model_of_another_task(tmp_path: Path, labels: list[int], image: tuple[int, int, int], words: str):
    model = linear_model(tmp_path / "model.onnx", image)
    with pytest.raises(UsageError, match=words):
        verify(model, dataset=images_of(tmp_path, labels), eps=0.1, out=tmp_path / "proof")
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seed": -1}, "--seed: must be at least 0, got -1"),
        ({"samples": 0}, "--samples: must be at least 1, got 0"),
    ],
)
def test_settings_that_no_run_can_have(tmp_path: Path, settings: dict[str, int], words: str):
    model = linear_model(tmp_path / "model.onnx", (3, 2, 2))
    with pytest.raises(UsageError, match=words):
        verify(model, dataset=images_of(tmp_path, [0, 1, 2]), eps=0.1, out=tmp_path / "proof", **settings)


def test_a_graph_of_one_batch_size_channels_last_is_attacked_all_the_same(tmp_path: Path):
    """The report says what stands around it, and binds the verdict to the file as it was given."""
    model = onnx.load(linear_model(tmp_path / "model.onnx", (2, 2, 3)))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    model.graph.node[0].CopyFrom(helper.make_node("Reshape", ["images", "shape"], ["flat"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, PIXELS]), "shape"))
    onnx.save(model, tmp_path / "model.onnx")
    report = verify(tmp_path / "model.onnx", **asked(tmp_path), adapter={"layout": "NHWC"})
    (subject,) = report.subjects
    assert subject["adapter"] == ["layout NHWC"]
    assert subject["given"] == {"path": "model.onnx", "sha256": sha256_of(tmp_path / "model.onnx")}
    assert subject["sha256"] == sha256_of(tmp_path / "proof" / subject["path"])
    assert subject["samples"] == 3
    assert not any("no-twin" in warning for warning in subject["warnings"])


def test_an_operator_without_a_twin_leaves_black_boxes_and_no_verdict(tmp_path: Path):
    model = onnx.load(linear_model(tmp_path / "model.onnx", (3, 2, 2)))
    squeezed = helper.make_node("Bernoulli", ["logits"], ["noise"])
    model.graph.node.extend([squeezed, helper.make_node("Mul", ["noise", "logits"], ["noisy"])])
    model.graph.output[0].name = "noisy"
    onnx.save(model, tmp_path / "model.onnx")
    report = verify(tmp_path / "model.onnx", **asked(tmp_path))
    warning = next(each for each in report.subjects[0]["warnings"] if each.startswith("no-twin"))
    assert re.search(r"model\.onnx: node .*Bernoulli.* does not know this operator.*--surrogate|of: inner", warning)


def test_a_file_in_the_runtimes_own_format(tmp_path: Path):
    """With the ONNX file that it was saved from, for its gradients."""
    graph = linear_model(tmp_path / "model.onnx", (3, 2, 2))
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "model.ort")
    settings.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(graph), settings, providers=["CPUExecutionProvider"])
    report = verify(tmp_path / "model.ort", graph=graph, **asked(tmp_path))
    assert report.subjects[0]["sha256"] == sha256_of(tmp_path / "model.ort")
    assert report.subjects[0]["twin_agreement"]["clean"] == 1
    words = r"^--normalize: is for an ONNX file; no adapter stands around .*\.ort: build .*, or verify .*--surrogate"
    with pytest.raises(UsageError, match=words):
        verify(tmp_path / "model.ort", graph=graph, adapter={"normalize": "half"}, **asked(tmp_path))
    with pytest.raises(UsageError, match=r"model\.ort: is no ONNX file; name the one .* with --graph"):
        verify(tmp_path / "model.ort", **{**asked(tmp_path), "out": tmp_path / "other"})


def test_what_stands_around_a_surrogate_is_in_the_report(tmp_path: Path):
    model, other = linear_model(tmp_path / "model.onnx", (3, 2, 2)), linear_model(tmp_path / "other.onnx", (2, 2, 3))
    report = verify(model, **asked(tmp_path), surrogate=other, surrogate_adapter={"normalize": "half"})
    (subject,) = report.subjects
    assert "adapter" not in subject
    words = ["mean 0.5", "std 0.5", "layout NHWC"]
    assert subject["surrogate"] == {"path": "other.onnx", "sha256": sha256_of(other), "adapter": words}
    told = "surrogate: other.onnx behind its adapter (mean 0.5, std 0.5, layout NHWC)"
    assert told in (tmp_path / "proof" / "summary.md").read_text()
    page = (tmp_path / "proof" / "report.html").read_text()
    assert sha256_of(other) in page
    assert "mean 0.5, std 0.5, layout NHWC" in page
    assert finished_report(tmp_path / "proof").data == report.data


def asked(folder: Path) -> dict[str, Any]:
    """Few samples, attacked for a moment."""
    overrides = ["verify.square_queries=10", "verify.isolate=false", "verify.routes=[square]"]
    few = {"dataset": images_of(folder, [0, 1, 2]), "eps": 0.1, "out": folder / "proof", "workers": 1, "curve": False}
    return {**few, "overrides": overrides}


def test_a_function_has_no_graph_and_no_target(tmp_path: Path):
    model = linear_model(tmp_path / "model.onnx", (3, 2, 2))
    asked = {"dataset": images_of(tmp_path, [0, 1, 2]), "eps": 0.1, "out": tmp_path / "proof"}
    with pytest.raises(UsageError, match="--target: mine:logits is a function, which no target runs"):
        verify("mine:logits", target="openvino", **asked)
    with pytest.raises(UsageError, match=r"--graph: mine:logits is a function; .* its --surrogate"):
        verify("mine:logits", graph=model, **asked)


def test_an_engine_of_another_runtime_wants_its_target(tmp_path: Path):
    graph = linear_model(tmp_path / "model.onnx", (3, 2, 2))
    (tmp_path / "model.plan").write_bytes(b"ftrt")
    data = images_of(tmp_path, [0, 1, 2])
    with pytest.raises(UsageError, match=r"model\.plan: is no ONNX file; name the runtime that runs it with --target"):
        verify(tmp_path / "model.plan", graph=graph, dataset=data, eps=0.1, out=tmp_path / "proof")


def test_earlier_packs_are_replayed(tmp_path: Path):
    """What another ball found is shown first; other images' packs are refused before anything is written."""
    model = linear_model(tmp_path / "model.onnx", (3, 2, 2))
    data, settings = images_of(tmp_path, [0, 1, 2, 0, 1, 2]), {"curve": False, "workers": 1}
    first = verify(model, dataset=data, eps=0.5, out=tmp_path / "first", **settings)
    pack = tmp_path / "first" / "adversarial" / "onnxruntime.npz"
    second = verify(model, dataset=data, eps=0.3, out=tmp_path / "second", packs=[pack], **settings)
    (engine,) = second.subjects
    assert next(iter(engine["routes"])) == "replay"
    assert first.data["recipe_digest"] != second.data["recipe_digest"]
    manifest = json.loads((tmp_path / "second" / "adversarial" / "manifest.json").read_text())
    assert manifest["replayed"] == [{"file": "onnxruntime.npz", "sha256": sha256_of(pack)}]
    np.savez(tmp_path / "own.npz", images=np.zeros((6, 3, 2, 2), np.uint8), labels=[0, 1, 2, 0, 1, 2])
    with pytest.raises(UsageError, match=r"--pack: .*onnxruntime\.npz: is about other test images"):
        verify(model, dataset=data, eps=0.3, out=tmp_path / "third", packs=[pack], **settings)
    assert not (tmp_path / "third").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path):
    """A proof in a build's folder would remove its models, the one that is attacked among them."""
    model = linear_model(tmp_path / "model.onnx", (3, 2, 2))
    out = tmp_path / "proof"
    out.mkdir()
    asked = {"dataset": images_of(tmp_path, [0, 1, 2]), "eps": 0.1, "out": out}
    (out / "report.json").write_text("mine")
    with pytest.raises(UsageError, match=r"--out .*proof: holds a report\.json that no run here wrote"):
        verify(model, **asked)
    assert [path.name for path in out.iterdir()] == ["report.json"]
    (out / "manifest.json").write_text(json.dumps({"artifacts": [{"path": "recipe.yaml", "sha256": ""}]}))
    with pytest.raises(UsageError, match=r"--out .*proof: holds a build, whose files would be removed"):
        verify(model, **asked)
    (out / "manifest.json").write_text(json.dumps({"artifacts": [{"path": "report.json", "sha256": ""}]}))
    check_own(out, build=False)
    check_own(tmp_path / "nothing", build=True)
    with pytest.raises(UsageError, match="holds a proof of `verify`"):
        build(ROOT / "examples" / "digits.yaml", out=out)


def test_a_folder_is_no_model(tmp_path: Path):
    with pytest.raises(UsageError, match="is a folder; a file is needed"):
        verify(tmp_path, dataset=images_of(tmp_path, [0, 1, 2]), eps=0.1, out=tmp_path / "proof")


def test_a_proof_of_another_model_or_data_set_is_not_replaced_unasked(tmp_path: Path):
    model = linear_model(tmp_path / "model.onnx", (3, 2, 2))
    verify(model, **asked(tmp_path))
    before = (tmp_path / "proof" / "report.json").read_bytes()
    verify(model, **{**asked(tmp_path), "eps": 0.2})  # another question about the same
    assert (tmp_path / "proof" / "report.json").read_bytes() != before
    before = (tmp_path / "proof" / "report.json").read_bytes()

    other = onnx.load(model)
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((PIXELS, CLASSES), np.float32), "weight"))
    onnx.save(other, tmp_path / "other.onnx")
    (tmp_path / "more").mkdir()
    more = images_of(tmp_path / "more", [0, 1, 2, 1])
    for changed, how, given in (
        ({}, "model", tmp_path / "other.onnx"),
        ({"dataset": more}, "data set", model),
    ):
        words = rf"^--out .*proof: holds the result of another {how}; name another place, or replace it with --force$"
        with pytest.raises(UsageError, match=words):
            verify(given, **{**asked(tmp_path), **changed})
        assert (tmp_path / "proof" / "report.json").read_bytes() == before
    report = verify(tmp_path / "other.onnx", **asked(tmp_path), force=True)
    assert report.subjects[0]["sha256"] == sha256_of(tmp_path / "other.onnx")
