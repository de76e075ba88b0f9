"""A pack of adversarial examples, shown to an engine without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.pipeline.replaying import replay
from edgeproof.stages.data import Dataset
from edgeproof.targets.errors import UsageError
from onnx import numpy_helper

SAMPLES = 40


@pytest.fixture(scope="module")
def pack(digits: Dataset, float_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two candidates of each sample; the engine's own answers say which samples are robust."""
    path = tmp_path_factory.mktemp("pack") / "engine.npz"
    split = digits.test.take(slice(0, SAMPLES))
    rows = np.repeat(np.arange(SAMPLES), 2)
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, (len(rows), *split.images.shape[1:]))
    arrays = {
        "index": split.index[rows],
        "label": split.labels[rows],
        "attack": np.full(len(rows), "noise"),
        "adversarial": (split.images[rows] + noise).clip(0, 1).astype(np.float32),
        "clean": split.images[rows],
        "robust": np.ones(len(rows), bool),
    }
    np.savez_compressed(path, **arrays)
    lost = set(replay(path, float_onnx)["lost"])
    assert 0 < len(lost) < SAMPLES
    np.savez_compressed(path, **{**arrays, "robust": np.array([row not in lost for row in arrays["index"]])})
    return path


def test_the_packs_own_engine_loses_nothing(pack: Path, float_onnx: Path):
    found = replay(pack, float_onnx)
    assert (found["samples"], found["candidates"]) == (SAMPLES, 2 * SAMPLES)
    assert found["robust_accuracy"] == found["pack_robust_accuracy"]
    assert (found["lost"], found["gained"], found["exit_code"]) == ([], [], 0)


def test_an_engine_that_fell_behind_is_caught_without_torch(pack: Path, float_onnx: Path, tmp_path: Path):
    worse = onnx.load(float_onnx)
    for tensor in worse.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.ndim == 4:
            noise = np.random.default_rng(0).normal(scale=0.5 * value.std(), size=value.shape)
            tensor.CopyFrom(numpy_helper.from_array((value + noise).astype(np.float32), tensor.name))
    onnx.save(worse, tmp_path / "worse.onnx")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from edgeproof.pipeline.cli import app\n"
        f"app(['replay', {str(pack)!r}, {str(tmp_path / 'worse.onnx')!r}, '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert len(found["lost"]) > found["allowed"]
    assert found["robust_accuracy"] < found["pack_robust_accuracy"]


@pytest.mark.parametrize("kind", ["missing", "text", "other arrays", "short"])
def test_what_is_no_pack(kind: str, pack: Path, float_onnx: Path, tmp_path: Path):
    path = tmp_path / "pack.npz"
    if kind == "text":
        path.write_text("no archive")
    elif kind == "other arrays":
        np.savez(path, index=np.arange(3))
    elif kind == "short":
        with np.load(pack) as arrays:
            np.savez(path, **{**dict(arrays), "label": arrays["label"][:5]})
    with pytest.raises(UsageError, match=r"pack\.npz"):
        replay(path, float_onnx)


def test_images_of_another_shape_are_refused(pack: Path, float_onnx: Path, tmp_path: Path):
    with np.load(pack) as arrays:
        wide = {
            key: np.pad(value, [(0, 0)] * 3 + [(0, 2)]) if value.ndim == 4 else value for key, value in arrays.items()
        }
    np.savez(tmp_path / "wide.npz", **wide)
    with pytest.raises(UsageError, match=r"takes images \[1, 8, 8\]"):
        replay(tmp_path / "wide.npz", float_onnx)
