"""A pack of adversarial examples, shown to an engine without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import StageError, UsageError
from edgeproof.pipeline.bundle.device.replay_pack import replay
from edgeproof.stages.adversarial_pack_manifest import write_manifest
from edgeproof.stages.data import Dataset
from onnx import helper, numpy_helper

SAMPLES = 40

# The command line where nothing is installed but numpy, ONNX Runtime, typer, rich, and what those need.
BARE = """
import sys
NEEDED = {"edgeproof", "numpy", "onnxruntime", "flatbuffers", "google", "packaging", "rich", "markdown_it", "mdurl"}
NEEDED |= {"pygments"}
TYPERS = {"typer", "click", "shellingham", "annotated_doc", "annotated_types", "pydantic", "pydantic_core"}
TYPERS |= {"typing_extensions", "typing_inspection"}

class Bare:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in NEEDED and top not in sys.stdlib_module_names and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Bare())
from edgeproof.pipeline.bundle.device.replay_pack import replay
replay(sys.argv[2], sys.argv[3])
NEEDED |= TYPERS
from edgeproof.pipeline.cli.main import main
main()
"""


def bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BARE, *arguments], capture_output=True, text=True, check=False)


def described(pack: Path, folder: Path) -> Path:
    """A copy of a pack with a manifest beside it."""
    copy = Path(shutil.copy(pack, folder))
    write_manifest(folder, {copy.stem: None}, {})
    return copy


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


def test_an_engine_that_fell_behind_is_caught_where_only_numpy_and_the_runtime_are(
    pack: Path, float_onnx: Path, tmp_path: Path
):
    worse = onnx.load(float_onnx)
    for tensor in worse.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.ndim == 4:
            noise = np.random.default_rng(0).normal(scale=0.5 * value.std(), size=value.shape)
            tensor.CopyFrom(numpy_helper.from_array((value + noise).astype(np.float32), tensor.name))
    onnx.save(worse, tmp_path / "worse.onnx")
    done = bare("replay", str(pack), str(tmp_path / "worse.onnx"), "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert len(found["lost"]) > found["allowed"]
    assert found["robust_accuracy"] < found["pack_robust_accuracy"]
    assert found == replay(pack, tmp_path / "worse.onnx"), "what is installed changes no answer"


def test_an_engine_that_fails_is_no_fault_of_ours(pack: Path, float_onnx: Path, tmp_path: Path):
    """A graph that calls its batch free and computes one image alone, say."""
    alone = onnx.load(float_onnx)
    name = alone.graph.output[0].name
    alone.graph.node.append(helper.make_node("Reshape", [name, "one_row"], ["row"]))
    alone.graph.initializer.append(numpy_helper.from_array(np.array([1, 10]), "one_row"))
    alone.graph.output[0].name = "row"
    onnx.save(alone, tmp_path / "alone.onnx")
    with pytest.raises(StageError, match=r"the engine raised .*Reshape"):
        replay(pack, tmp_path / "alone.onnx")


def test_a_pack_is_held_against_its_manifest(pack: Path, float_onnx: Path, tmp_path: Path):
    copy = described(pack, tmp_path)
    assert replay(pack, float_onnx)["manifest"] is None
    assert replay(copy, float_onnx)["manifest"] == str(tmp_path / "manifest.json")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("altered", r"engine\.npz: altered or truncated"),
        ("truncated", r"engine\.npz: altered or truncated"),
        ("renamed", r"other\.npz: .*manifest\.json does not list it \(listed: engine\.npz\)"),
        ("a run's manifest", r"manifest\.json: no manifest of packs"),
        ("a broken manifest", r"manifest\.json: no manifest of packs"),
    ],
)
def test_a_pack_that_its_manifest_does_not_vouch_for(
    kind: str, words: str, pack: Path, float_onnx: Path, tmp_path: Path
):
    copy, manifest = described(pack, tmp_path), tmp_path / "manifest.json"
    if kind == "altered":
        with np.load(pack) as arrays:
            np.savez_compressed(copy, **{**arrays, "robust": np.zeros(2 * SAMPLES, bool)})
    elif kind == "truncated":
        copy.write_bytes(pack.read_bytes()[:-1])
    elif kind == "renamed":
        copy = copy.rename(tmp_path / "other.npz")
    elif kind == "a run's manifest":
        manifest.write_text('{"artifacts": []}')
    else:
        manifest.write_text(manifest.read_text()[:-20])
    with pytest.raises(UsageError, match=words) as caught:
        replay(copy, float_onnx)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


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


def test_an_engine_of_fewer_classes_is_another_task(pack: Path, float_onnx: Path, tmp_path: Path):
    model = onnx.load(float_onnx)
    (output,) = model.graph.output
    model.graph.initializer.append(numpy_helper.from_array(np.arange(7), "few"))
    model.graph.node.append(onnx.helper.make_node("Gather", [output.name, "few"], ["some"], axis=1))
    output.name = "some"
    output.type.tensor_type.shape.dim[1].dim_value = 7
    onnx.save(model, tmp_path / "few.onnx")
    with pytest.raises(UsageError, match=r"few\.onnx: answers with 7 classes, .*engine\.npz has a label 9"):
        replay(pack, tmp_path / "few.onnx")


def test_commands_that_need_more_than_a_device_has_say_so():
    code = (
        "import sys; sys.modules['torch'] = None; from edgeproof.pipeline.cli.main import main\n"
        "sys.argv = ['edgeproof', 'verify', 'model.onnx', '--dataset', 'digits', '--eps', '0.1']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("edgeproof: No module named 'torch'; this command needs what edgeproof depends on")
