"""A bundle replayed where nothing is installed but numpy, typer and the runtime: no torch, no onnx."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.bundle.device.bring_back import bring_back
from edgeproof.pipeline.bundle.device.offline import export_images
from edgeproof.pipeline.bundle.device.replay_bundle import replay_bundle
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.stages.data import Dataset
from edgeproof.stages.quantize import CalibrationConfig, calibration_split, quantize_onnx
from edgeproof.targets.base import targets

from tests.pipeline.bundle.small_run import list_artifacts, weakened
from tests.pipeline.bundle.torchless import edgeproof_in, environment
from tests.plain_runtime import answers_of


@pytest.fixture(scope="module")
def bundle(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("carried") / "small.tar"
    make_bundle(finished, plain=True, out=path)
    return path


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_documented_packages_are_all_that_a_device_needs(
    runtime: str, bundle: Path, run: Path, int8_onnx: Path, tmp_path: Path
):
    if not (state := targets[runtime].available()).available:
        pytest.skip(state.reason)
    python = environment(tmp_path / "device", ["numpy", "typer", runtime])
    for module in ("torch", "onnx", "pyautoattack", "scipy"):
        gone = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True, check=False)
        assert f"No module named '{module}'" in gone.stderr
    carried = Path(shutil.copy(bundle, tmp_path / "carried.tar"))
    done = edgeproof_in(python, "replay", carried, "--target", runtime, "--device", "box", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "device-report.json").read_text())
    here = replay_bundle(bundle, target=runtime, device="box", out=tmp_path / "here.json")
    same = ("bits", "proof", "engine", "lost", "gained", "outcome", "candidates", "bundle")
    assert {key: found[key] for key in same} == {key: here[key] for key in same}, "what is installed changes no answer"
    assert bring_back(run, tmp_path / "device-report.json").exit_code == 0

    # One that fell behind is caught there, and so is a bundle that somebody changed on the way.
    worse = weakened(int8_onnx, tmp_path / "worse.onnx")
    done = edgeproof_in(python, "replay", carried, worse, "--target", runtime, "--device", "box", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "FAIL (lost " in done.stdout
    assert bring_back(run, tmp_path / "device-report.json").exit_code == 1
    content = bytearray(carried.read_bytes())
    content[len(content) // 2] ^= 1
    carried.write_bytes(content)
    done = edgeproof_in(python, "replay", carried, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert "altered or truncated" in done.stderr
    # Another runtime is not there, and that is no pass.
    shutil.copy(bundle, carried)
    done = edgeproof_in(python, "replay", carried, "--target", "tensorrt", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)


def test_the_guide_of_a_bundle_names_the_packages_that_are_tested(bundle: Path, finished: Path, tmp_path: Path):
    make_bundle(finished, plain=True, out=tmp_path / "folder")
    text = (tmp_path / "folder" / "DEVICE.md").read_text()
    assert "pip install numpy typer onnxruntime==1.2.3\n" in text, "the version of the run"
    assert "edgeproof replay BUNDLE\n" in text


@pytest.mark.slow
def test_a_pte_is_carried_as_it_was_built(run: Path, tmp_path: Path, float_onnx: Path, digits: Dataset):
    """ExecuTorch's Python runtime imports torch; so this one is replayed beside it."""
    executorch = targets["executorch"]
    if not (state := executorch.available()).available:
        pytest.skip(state.reason)
    images = calibration_split(digits.train, CalibrationConfig()).images
    quantize_onnx(float_onnx, tmp_path / "graph.onnx", executorch.scheme, images)
    engines = run / "engines" / "executorch"
    built = executorch.build(tmp_path / "graph.onnx", engines)
    about = {"target": "executorch", "file": built.path.name, "options": dict(built.options)}
    (engines / "engine.json").write_text(json.dumps(about))
    list_artifacts(run)
    make_bundle(run, plain=True, engines=["executorch"], out=tmp_path / "folder")
    assert (tmp_path / "folder/engines/executorch/model.pte").read_bytes() == built.path.read_bytes()
    found = replay_bundle(tmp_path / "folder", device="box", out=tmp_path / "device-report.json")
    assert (found["engine"]["origin"], found["engine"]["sha256"]) == ("bundle", built.sha256)
    assert found["outcome"] == "inconclusive", "this run did not attack it"
    with executorch.load(built) as engine:
        split = digits.test.take(slice(0, found["samples"]))
        right = engine(split.images).argmax(1) == split.labels
    clean = np.array([bit == "1" for bit in found["bits"]["clean"]])
    assert clean.any()
    assert not (clean & ~right).any()


def test_a_device_without_edgeproof_gets_images_and_gives_logits(
    bundle: Path, run: Path, int8_onnx: Path, tmp_path: Path
):
    told = export_images(bundle, tmp_path / "images.npy")
    images = np.load(tmp_path / "images.npy")
    assert (list(images.shape), images.dtype) == (told["shape"], np.float32)
    answered = answers_of(int8_onnx, images)
    np.save(tmp_path / "logits.npy", answered)
    out = tmp_path / "device-report.json"
    found = replay_bundle(bundle, int8_onnx, logits=tmp_path / "logits.npy", device="phone", out=out)
    here = replay_bundle(bundle, device="box", out=tmp_path / "here.json")
    assert {key: found[key] for key in ("bits", "lost", "candidates")} == {
        key: here[key] for key in ("bits", "lost", "candidates")
    }
    assert (found["engine"]["origin"], found["engine"]["sha256"]) == ("answers", here["engine"]["sha256"])
    assert (found["latency_ms"], found["machine"], found["outcome"]) == (None, None, "pass")
    assert bring_back(run, out).data["devices"][0]["origin"] == "answers"
    # Answers of another engine, or with NaN in them, lose samples.
    np.save(tmp_path / "logits.npy", np.full_like(answered, np.nan))
    found = replay_bundle(bundle, logits=tmp_path / "logits.npy", device="phone", out=out)
    assert (found["exit_code"], found["robust_accuracy"], found["engine"]["sha256"]) == (1, 0.0, "unknown")


@pytest.mark.parametrize(
    ("rows", "words"), [(-1, "the bundle has more images"), (1, "answers, the bundle has"), (None, "no such file")]
)
def test_answers_that_are_not_to_these_images(bundle: Path, tmp_path: Path, rows: int | None, words: str):
    (count, *_) = export_images(bundle, tmp_path / "images.npy")["shape"]
    if rows is not None:
        np.save(tmp_path / "logits.npy", np.zeros((count + rows, 10), np.float32))
    with pytest.raises(UsageError, match=words):
        replay_bundle(bundle, logits=tmp_path / "logits.npy", device="phone", out=tmp_path / "device-report.json")
    assert not (tmp_path / "device-report.json").exists()


def test_what_is_no_array_of_logits(bundle: Path, tmp_path: Path):
    for name, content in (("text", b"no array"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=r"no \.npy file of logits"):
            replay_bundle(bundle, logits=tmp_path / name, device="phone", out=tmp_path / "device-report.json")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    with pytest.raises(UsageError, match="a float array"):
        replay_bundle(bundle, logits=tmp_path / "flat.npy", device="phone", out=tmp_path / "device-report.json")
    with pytest.raises(UsageError, match="--device"):
        replay_bundle(bundle, logits=tmp_path / "flat.npy", out=tmp_path / "device-report.json")
