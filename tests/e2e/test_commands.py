"""The other commands, and what bad input gets: one line, the documented exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from edgeproof.stages.checkpoint import save_weights
from edgeproof.stages.models import build_model
from onnx import TensorProto

from tests.e2e.conftest import FEW, ROOT, edgeproof, with_checkpoint

DIGITS = ROOT / "examples" / "digits.yaml"


def one_line(done, code: int, *words: str) -> None:
    """Hold an answer to the rule: the code, one line on stderr, no traceback, nothing on stdout."""
    assert done.code == code, (done.code, done.err)
    lines = done.err.strip().splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("edgeproof: ")
    assert done.out == ""
    for word in words:
        assert word in lines[0]


def test_help_is_quick_to_import():
    """`--help` must not wait for torch, onnxruntime or pydantic."""
    code = (
        "import sys; from edgeproof.pipeline.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: print({m for m in ('torch', 'onnxruntime', 'onnx', 'scipy', 'sklearn') "
        "if m in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"
    for command in (
        "build",
        "verify",
        "compare",
        "gate",
        "bench",
        "report",
        "init",
        "doctor",
        "targets",
        "teachers",
        "distill",
        "export",
    ):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("distill.epochz=3", ("distill.epochz: unknown key", "did you mean 'epochs'")),
        ("distill.epochs=many", ("distill.epochs", "got 'many'")),
        ("threat.eps=2", ("threat.eps: must be in (0, 1]", "got 2")),
        ("distill.inner.step=0.2", ("distill.inner.step: 0.2 is larger than threat.eps 0.1",)),
        ("data.dataset=digit", ("data.dataset", "did you mean 'digits'")),
        ("verify.seed=-1", ("verify.seed: must be at least 0, got -1",)),
        ("verify.samples=501", ("verify.samples: 501 is more than the 500 test images",)),
    ],
)
def test_recipe_mistakes_write_nothing(tmp_path: Path, override: str, words: tuple[str, ...]):
    done = edgeproof("build", DIGITS, "--out", tmp_path / "run", "--set", override)
    one_line(done, 2, *words)
    assert list(tmp_path.iterdir()) == []


def test_out_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    one_line(edgeproof("build", DIGITS, "--out", tmp_path / "file"), 2, "is a file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_missing_recipe(tmp_path: Path):
    one_line(edgeproof("build", tmp_path / "none.yaml"), 2, "none.yaml: no such recipe file")


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil-ran",)


@pytest.mark.parametrize("kind", ["evil", "other-shapes", "junk", "unknown-model"])
def test_checkpoints_that_are_refused(tmp_path: Path, kind: str):
    path = tmp_path / ("teacher.safetensors" if kind == "unknown-model" else "teacher.pt")
    more: tuple[str, ...] = ()
    if kind == "unknown-model":
        save_weights({"weight": torch.zeros(1)}, path, model="cnn9_wide")
        more, words = ("teacher.model=null",), ("unknown model 'cnn9_wide'; did you mean 'cnn8_wide'",)
    elif kind == "evil":
        torch.save({"0.weight": Evil()}, path)
        words = ("wants to run code",)
    elif kind == "junk":
        path.write_bytes(b"junk")
        words = ("not a valid PyTorch checkpoint",)
    else:
        torch.save(build_model("cnn8_small", (1, 8, 8), 10, seed=0).state_dict(), path)
        words = ("does not fit model 'cnn8_wide'", "0.weight is [8, 1, 3, 3] in the file and [24, 1, 3, 3]")
    done = edgeproof("build", DIGITS, "--out", tmp_path / "run", *with_checkpoint(path, *more), cwd=tmp_path)
    one_line(done, 2, *words)
    assert sorted(tmp_path.iterdir()) == [path]


def verify(path: Path, tmp_path: Path, *more: str | Path):
    return edgeproof(
        "verify", path, "--dataset", "digits", "--eps", "0.1", "--out", tmp_path / "proof", *more, cwd=tmp_path
    )


@pytest.mark.parametrize("kind", ["truncated", "height", "inputs", "evil", "missing", "operator"])
def test_models_that_are_refused(tmp_path: Path, float_onnx: Path, kind: str):
    path = tmp_path / ("model.pt" if kind == "evil" else "model.onnx")
    model = onnx.load(float_onnx)
    words = {
        "truncated": "truncated",
        "height": "its images are [batch, 1, 9, 8], those of the data set [N, 1, 8, 8]",
        "inputs": "one input, this model has 2",
        "evil": "a pickle can run code",
        "missing": "no such file",
        "operator": "answers no image: raised Fail: ",
    }[kind]
    if kind == "height":
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 9
    if kind == "inputs":
        model.graph.input.append(onnx.helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", 1]))
    if kind == "operator":
        names = ["images", "images"]
        model.graph.node.append(onnx.helper.make_node("NonMaxSuppression", names, ["boxes"], name="nms"))
    if kind == "evil":
        torch.save({"weight": Evil()}, path)
    elif kind != "missing":
        content = model.SerializeToString()
        path.write_bytes(content[: len(content) // 2] if kind == "truncated" else content)
    before = sorted(entry.name for entry in tmp_path.iterdir())
    one_line(verify(path, tmp_path), 2, words)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--eps", "3"), "--eps: must be in (0, 1] for Linf, got 3"),
        (("--norm", "L7"), "--norm: unknown norm 'L7'; did you mean 'L2'? (known: L2, Linf)"),
        (("--dataset", "digit"), "--dataset: unknown dataset 'digit'; did you mean 'digits'"),
        (("--target", "onnxruntim"), "--target: unknown target"),
        (("--gate", "robust >= 1"), "--gate: unknown figure 'robust'"),
        (("--samples", "501"), "--samples: 501 is more than the 500 test images"),
        (("--samples", "0"), "--samples: must be at least 1, got '0'"),
        (("--workers", "many"), "--workers: must be a whole number"),
        (("--seed", "-1"), "--seed: must be at least 0, got '-1'"),
        (("--sample", "3"), "No such option: --sample (Possible options: --samples, --scale, --set)"),
        (("another.onnx",), "unexpected extra argument"),
        (("--gate", "robust_accuracy >= 75"), "--gate: robust_accuracy: is a share, its limit lies in [0, 1]"),
        (("--sequential", "--gate=size_bytes < 9"), "--sequential: needs a gate to decide, on one of: clean_accuracy"),
    ],
)
def test_options_that_are_refused(tmp_path: Path, float_onnx: Path, more: tuple[str, ...], words: str):
    one_line(verify(float_onnx, tmp_path, *more), 2, words)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_is_no_onnx_file_is_attacked_sequentially_through_the_one_it_was_built_from(
    tmp_path: Path, float_onnx: Path
):
    openvino = pytest.importorskip("openvino")
    xml = tmp_path / "ir" / "model.xml"
    openvino.save_model(openvino.convert_model(float_onnx), xml, compress_to_fp16=False)
    words = "is no ONNX file; name the one that it was built from with --graph"
    one_line(verify(xml, tmp_path, "--target", "openvino"), 2, words)
    more = ("--sequential", "--gate", "clean_accuracy >= 0.3", "--workers", "1", "--json", *FEW)
    done = verify(xml, tmp_path, "--target", "openvino", "--graph", float_onnx, *more)
    report = json.loads(done.out)
    (engine,), (gate,) = report["subjects"], report["gates"]
    assert (done.code, gate["outcome"], engine["samples"]) == (0, "pass", 50)
    assert 0.3 < gate["ci"][0] < 0.95
    assert engine["sequential"] == {"population": 500, "error": 0.05}
    assert engine["robust_accuracy_ci"] is None, "no gate is on it, and no interval was kept for it"
    assert engine["twin_agreement"] == {"clean": 1.0, "adversarial": 1.0}
    assert engine["robust_accuracy"] < engine["clean_accuracy"]
    assert engine["size_bytes"] == xml.stat().st_size + xml.with_suffix(".bin").stat().st_size


def test_noise_behind_the_logits_has_no_twin_and_is_inconclusive(tmp_path: Path, float_onnx: Path):
    model = onnx.load(float_onnx)
    for node in model.graph.node:
        node.output[:] = ["quiet" if name == "logits" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("RandomNormalLike", ["quiet"], ["noise"], name="noise"))
    model.graph.node.append(onnx.helper.make_node("Add", ["quiet", "noise"], ["logits"], name="add"))
    onnx.save(model, tmp_path / "noise.onnx")
    done = verify(tmp_path / "noise.onnx", tmp_path, "--samples", "10", "--json", *FEW)
    found = json.loads(done.out)
    assert (done.code, found["verdict"]) == (4, "inconclusive")
    warnings = " ".join(found["subjects"][-1]["warnings"])
    assert "no-twin: noise.onnx: node 'noise' (RandomNormalLike" in warnings
    assert "changing: " in warnings


@pytest.mark.slow
def test_verify_a_model_that_nobody_here_exported(tmp_path: Path, student):
    """From another exporter (TorchScript, opset 13), without torch weights, by the same code."""
    path = tmp_path / "theirs.onnx"
    torch.onnx.export(
        student.load(),
        (torch.zeros(2, 1, 8, 8),),
        path,
        dynamo=False,
        opset_version=13,
        input_names=["input.1"],
        dynamic_axes={"input.1": {0: "n"}},
    )
    done = verify(path, tmp_path, "--samples", "30", *FEW, "--gate", "robust_accuracy >= 0.99", "--json")
    report = json.loads(done.out)
    assert done.code == report["exit_code"] == 1
    (engine,) = report["subjects"]
    assert engine["precision"] == "fp32"
    assert list(engine["routes"]) == ["whitebox", "probe", "square", "rounded"]
    assert 0.6 < engine["robust_accuracy"] < 0.97
    assert engine["twin_agreement"] == {"clean": 1.0, "adversarial": 1.0}
    assert (tmp_path / "proof" / "verification" / "onnxruntime.npz").is_file()
    assert (tmp_path / "proof" / "adversarial" / "onnxruntime.npz").is_file()
    # Gates on the finished report, without attacking again; the pack, held against its manifest.
    proof = tmp_path / "proof"
    manifest = json.loads((proof / "adversarial" / "manifest.json").read_text())
    assert manifest["threat"] == report["threat_model"]
    assert manifest["packs"][0]["subject_sha256"] == engine["sha256"]
    replayed = edgeproof("replay", proof / "adversarial" / "onnxruntime.npz", path, "--json")
    assert (replayed.code, json.loads(replayed.out)["manifest"]) == (0, str(proof / "adversarial" / "manifest.json"))
    assert edgeproof("gate", proof, "--require", "robust_accuracy >= 0.3").code == 0
    assert edgeproof("gate", proof / "report.json").code == 1
    one_line(edgeproof("gate", proof, "--require", "robustness"), 2, "unknown figure")


def test_doctor_targets_and_init(tmp_path: Path):
    found = json.loads(edgeproof("doctor", "--json").out)
    assert {"edgeproof", "machine", "packages", "targets"} <= set(found)
    assert all(package["fits"] for package in found["packages"])
    (state,) = [entry for entry in json.loads(edgeproof("targets", "--json").out) if entry["name"] == "onnxruntime"]
    assert set(state) == {"name", "available", "builds", "reason", "versions"}
    assert state["available"] is True
    assert edgeproof("init", tmp_path / "recipe.yaml").code == 0
    one_line(edgeproof("init", tmp_path / "recipe.yaml"), 2, "exists already")


@pytest.mark.parametrize("content", [None, "no json", "{}", '{"schema_version": 9, "subjects": []}'])
def test_reports_that_are_none(tmp_path: Path, content: str | None):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    one_line(edgeproof("gate", path), 2, "report.json")
