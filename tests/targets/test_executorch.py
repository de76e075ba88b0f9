"""ExecuTorch: what it answers, what XNNPACK runs of it, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import BackendMissing, EdgeproofError, StageError
from edgeproof.stages.data import Dataset
from edgeproof.stages.export import export_onnx
from edgeproof.stages.quantize import quantize_onnx
from edgeproof.targets.base import EngineFile, targets
from edgeproof.targets.executorch import lowering
from edgeproof.targets.executorch import target as module
from edgeproof.targets.executorch.target import ExecuTorchEngine, ExecuTorchOptions
from edgeproof.targets.onnxruntime.target import open_session
from edgeproof.targets.schemes import SCHEMES
from torchvision.models.vision_transformer import VisionTransformer

TARGET = targets["executorch"]
needs_runtime = pytest.mark.usefixtures("runtime")


@pytest.fixture(scope="session")
def runtime() -> None:
    """Asked for when a test needs it: importing ExecuTorch takes seconds."""
    if not (state := TARGET.available()).available:
        pytest.skip(state.reason)


@pytest.fixture(scope="module")
def own_int8(student_file) -> Path:
    return student_file("executorch", "int8")


@pytest.fixture(scope="module")
def files(student_engine) -> dict[str, EngineFile]:
    return {"float": student_engine("executorch", "fp32"), "int8": student_engine("executorch", "int8")}


@needs_runtime
def test_it_builds_alone(float_onnx: Path, tmp_path: Path):
    """What converts for it stands a floor above, and is found when it is needed."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from edgeproof.targets.base import targets\n"
        "assert not any(name.startswith('edgeproof.stages') for name in sys.modules)\n"
        "targets['executorch'].build(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(float_onnx), str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.pte").stat().st_size > 0


@pytest.fixture
def int8(files: dict[str, EngineFile]):
    with TARGET.load(files["int8"]) as engine:
        yield engine


def reference(path: Path, images: np.ndarray) -> np.ndarray:
    session = open_session(path, optimise=False)
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def exported(net: torch.nn.Module, folder: Path) -> Path:
    path = folder / "net.onnx"
    export_onnx(net.eval(), (3, 8, 8), path, opset=18)
    return path


def exported_vit(path: Path) -> Path:
    """A vision transformer of one block as TorchScript writes it: it computes its shapes out of the images'."""
    torch.manual_seed(0)
    net = VisionTransformer(
        image_size=8, patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=5
    )
    torch.nn.init.normal_(net.heads.head.weight)  # zeros otherwise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            (torch.zeros(2, 3, 8, 8),),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
        )
    return path


def of_batch(path: Path, batch: int) -> None:
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, path)


class Residual(torch.nn.Module):
    """Two layers beside a shortcut: the dequantizer before them has two readers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.second = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.head = torch.nn.Linear(256, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).clamp(0, 6)
        return self.head((self.second(x) + x).relu().flatten(1))


@needs_runtime
@pytest.mark.parametrize("kind", ["float", "int8"])
def test_answers_are_the_files_own(kind: str, files: dict[str, EngineFile], float_onnx, own_int8, digits: Dataset):
    images = digits.test.images[:200]
    expected = reference(own_int8 if kind == "int8" else float_onnx, images)
    with TARGET.load(files[kind]) as engine:
        found = engine(images)
    step = 1e-4 if kind == "float" else 1.01 * np.diff(np.unique(expected)).min()  # of the last quantizer
    assert np.abs(found - expected).max() <= step
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.99


@needs_runtime
def test_xnnpack_runs_all_of_it(files: dict[str, EngineFile], own_int8: Path):
    for file in files.values():
        with TARGET.load(file) as engine:
            assert isinstance(engine, ExecuTorchEngine)
            assert engine.delegated_share == 1.0
    about = json.loads((files["int8"].path.parent / "delegation.json").read_text())
    assert about["left"] == {}
    assert about["subgraphs"] == 1
    assert files["int8"].path.stat().st_size < 1.5 * own_int8.stat().st_size  # integers, and no float weights beside


@needs_runtime
def test_what_xnnpack_leaves_is_counted_and_right(tmp_path: Path):
    torch.manual_seed(0)

    class Erf(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.erf(x)

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), Erf(), torch.nn.Flatten(), torch.nn.Linear(144, 5))
    path = exported(net, tmp_path)
    built = TARGET.build(path, tmp_path / "engine")
    assert json.loads((built.path.parent / "delegation.json").read_text())["left"] == {"aten.erf.default": 1}
    images = np.random.default_rng(0).random((33, 3, 8, 8), np.float32)
    with TARGET.load(built) as engine:
        assert isinstance(engine, ExecuTorchEngine)
        assert engine.delegated_share == pytest.approx(3 / 4)
        np.testing.assert_allclose(engine(images), net(torch.from_numpy(images)).detach().numpy(), atol=1e-5)


@needs_runtime
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "batch"), [("float", None), ("int8", 3)])
def test_a_vision_transformer(precision: str, batch: int | None, tmp_path: Path):
    images = np.random.default_rng(0).random((12, 3, 8, 8), np.float32)
    path = exported_vit(tmp_path / "float.onnx")
    if precision == "int8":
        path = tmp_path / "int8.onnx"
        quantize_onnx(tmp_path / "float.onnx", path, TARGET.scheme, images)
    expected = reference(path, images)
    if batch is not None:
        of_batch(path, batch)
    with TARGET.load(TARGET.build(path, tmp_path / "engine")) as engine:
        assert engine.signature.batch == batch
        found = engine(images)
    assert np.abs(found - expected).max() < (1e-5 if precision == "float" else 0.02) * np.ptp(expected)


@needs_runtime
@pytest.mark.parametrize("scheme", ["executorch", "tensorrt"])
def test_shortcuts_clips_and_outputs_that_are_not_quantized(scheme: str, tmp_path: Path):
    """TensorRT's scheme leaves the logits in float: with integer weights there, XNNPACK would answer wrongly."""
    torch.manual_seed(0)
    images = np.random.default_rng(0).random((40, 3, 8, 8), np.float32)
    path = tmp_path / "int8.onnx"
    quantize_onnx(exported(Residual(), tmp_path), path, SCHEMES[scheme], images)
    expected = reference(path, images)
    with TARGET.load(TARGET.build(path, tmp_path / "engine")) as engine:
        assert isinstance(engine, ExecuTorchEngine)
        assert engine.delegated_share == 1.0
        assert np.abs(engine(images) - expected).max() < 0.02 * np.ptp(expected)


@needs_runtime
def test_halves_of_different_scales_are_joined_outside(tmp_path: Path):
    """XNNPACK would refuse the file when it is loaded."""

    class Halves(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.layer(x)
            return torch.cat([x[:, :2] * 5, x[:, 2:].relu()], 1).mean((2, 3))

    torch.manual_seed(0)
    images = np.random.default_rng(0).random((8, 3, 8, 8), np.float32)
    path = tmp_path / "int8.onnx"
    quantize_onnx(exported(Halves(), tmp_path), path, TARGET.scheme, images)
    expected = reference(path, images)
    with TARGET.load(TARGET.build(path, tmp_path / "engine")) as engine:
        assert isinstance(engine, ExecuTorchEngine)
        assert 0 < engine.delegated_share < 1
        assert np.abs(engine(images) - expected).max() < 0.02 * np.ptp(expected)


@needs_runtime
def test_a_layer_left_with_integer_weights_is_refused(own_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = onnx.load(own_int8)
    last = next(node for node in model.graph.node if node.op_type == "Gemm")
    del model.graph.node[-2:]  # the quantizers of the logits
    last.output[0] = model.graph.output[0].name
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    monkeypatch.setattr(lowering, "_in_integers", lambda reader: True)
    with pytest.raises(StageError, match="ExecuTorch refuses the model: XNNPACK does not take"):
        TARGET.build(path, tmp_path / "engine")


@needs_runtime
def test_other_answers_than_the_graphs_are_refused(files: dict[str, EngineFile], float_onnx: Path):
    class Other(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, :10]

    with TARGET.load(files["float"]) as engine, pytest.raises(StageError, match="misreads the model"):
        module._check_answers(engine, Other(), float_onnx)


@needs_runtime
@pytest.mark.parametrize("count", [0, 1, 7, 33])
def test_any_number_of_images(count: int, int8, digits: Dataset):
    logits = int8(digits.test.images[:count])
    assert logits.shape == (count, 10)
    assert logits.dtype == np.float32


@needs_runtime
def test_fixed_batch_models_serve_any_number(float_onnx: Path, digits: Dataset, tmp_path: Path):
    path = tmp_path / "fixed.onnx"
    path.write_bytes(float_onnx.read_bytes())
    of_batch(path, 4)
    images = digits.test.images[:11]
    with TARGET.load(TARGET.build(path, tmp_path / "engine")) as engine:
        assert engine.signature.batch == 4
        np.testing.assert_allclose(engine(images), reference(float_onnx, images), atol=1e-5)


@needs_runtime
def test_rows_do_not_depend_on_their_neighbours(files: dict[str, EngineFile], digits: Dataset):
    images = digits.test.images[:40]
    for file in files.values():
        with TARGET.load(file) as engine:
            together = engine(images)
            assert np.array_equal(engine(images[::-1].copy())[::-1], together)
            assert np.array_equal(np.concatenate([engine(images[i : i + 1]) for i in range(40)]), together)


@needs_runtime
def test_every_call_returns_its_own_array(int8, digits: Dataset):
    first = int8(digits.test.images[:3])
    kept = first.copy()
    first[:] = -np.inf
    assert np.array_equal(int8(digits.test.images[:3]), kept)


@needs_runtime
def test_engines_side_by_side_in_threads(files: dict[str, EngineFile], digits: Dataset):
    images = digits.test.images[:40]
    with TARGET.load(files["int8"]) as one, TARGET.load(files["float"]) as two:
        expected = {one: one(images), two: two(images)}
        with ThreadPoolExecutor(4) as pool:
            jobs = [(engine, pool.submit(engine, images)) for _ in range(20) for engine in (one, two)]
        assert all(np.array_equal(job.result(), expected[engine]) for engine, job in jobs)


@needs_runtime
def test_the_thread_pool_is_not_resized_under_an_engine(files: dict[str, EngineFile], digits: Dataset):
    """The process would end without a word."""
    images = digits.test.images[:40]
    with TARGET.load(files["int8"]) as engine:
        expected = engine(images)
        with pytest.raises(StageError, match=r"one thread pool .* of 1 threads, and 2 are wanted"):
            TARGET.load(files["int8"], threads=2)
    for threads in (2, 1):
        with TARGET.load(files["int8"], threads=threads) as engine:
            assert np.array_equal(engine(images), expected)


@needs_runtime
def test_a_closed_engine_says_so(files: dict[str, EngineFile], digits: Dataset):
    engine = TARGET.load(files["int8"])
    engine.close()
    engine.close()
    with pytest.raises(EdgeproofError, match="closed"):
        engine(digits.test.images[:1])


@needs_runtime
def test_altered_and_cut_files_are_refused(files: dict[str, EngineFile], tmp_path: Path, capfd):
    content = files["int8"].path.read_bytes()
    path = tmp_path / "model.pte"
    path.write_bytes(content + b"\0")
    with pytest.raises(StageError, match="altered"):
        TARGET.load(EngineFile("executorch", path, files["int8"].sha256))
    for size in (0, 7, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(StageError, match=r"ExecuTorch refuses the model: .*; .*size"):
            TARGET.load(EngineFile.of("executorch", path))
    assert ".cpp:" not in capfd.readouterr().err  # what the runtime says is in the error


@needs_runtime
def test_a_program_of_another_kind_is_refused(tmp_path: Path):
    class Sum(torch.nn.Module):
        def forward(self, one: torch.Tensor) -> torch.Tensor:
            return one.sum()

    path = tmp_path / "model.pte"
    path.write_bytes(lowering.lower(Sum(), (3, 8, 8), batch=2, free=False).content)
    with pytest.raises(EdgeproofError, match=r"output 0.* has shape \[\], logits"):
        TARGET.load(EngineFile.of("executorch", path))


@needs_runtime
def test_an_unknown_operator_is_named(float_onnx: Path, tmp_path: Path):
    model = onnx.load(float_onnx)
    model.graph.node[0].domain = "nobody.knows"
    model.opset_import.append(onnx.helper.make_opsetid("nobody.knows", 1))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(StageError, match=r"ExecuTorch refuses the model: node .* \(Conv, nobody\.knows opset 1\)"):
        TARGET.build(path, tmp_path / "engine")


def test_a_missing_runtime_says_what_to_install(monkeypatch: pytest.MonkeyPatch, int8_onnx: Path, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "executorch.extension.pybindings", None)
    assert "pip install 'edgeproof[executorch]'" in TARGET.available().reason
    with pytest.raises(BackendMissing, match=r"edgeproof\[executorch\]"):
        TARGET.build(int8_onnx, tmp_path)


def test_a_batch_of_nothing_is_no_option():
    with pytest.raises(ValueError, match="1 to 4096"):
        ExecuTorchOptions(batch=0)
