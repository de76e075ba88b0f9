"""Torch-TensorRT: how a quantized program is rewritten for it; the rest needs TensorRT and a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import BackendMissing, EdgeproofError, StageError
from edgeproof.stages.data import Dataset
from edgeproof.stages.quantize import CalibrationConfig, calibration_split, quantize_onnx
from edgeproof.stages.torch_program import TorchProgram
from edgeproof.targets.base import EngineFile, targets
from edgeproof.targets.onnxruntime.target import open_session
from edgeproof.targets.torch_program import exported
from edgeproof.targets.torch_tensorrt.quantize_op import rewrite
from edgeproof.targets.torch_tensorrt.target import TorchTensorRTOptions, check_one_engine, program_signature

TARGET = targets["torch_tensorrt"]
_STATE = TARGET.available()


def fake_quantize(images, amax, num_bits, exponent_bits, unsigned, narrow_range):
    """ModelOpt's operator as its schema says it, and as Torch-TensorRT 2.14 converts it."""
    assert (num_bits, exponent_bits, unsigned, narrow_range) == (8, 0, False, False)
    assert amax.numel() == 1 or amax.shape == (images.shape[0], *[1] * (images.dim() - 1))
    scale = amax / 127
    return torch.clamp(torch.round(images / scale), -128, 127) * scale


@pytest.fixture(scope="module")
def symmetric_onnx(float_onnx: Path, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("symmetric") / "model.onnx"
    quantize_onnx(float_onnx, path, TARGET.scheme, calibration_split(digits.train, CalibrationConfig()).images)
    return path


def program_of(path: Path) -> torch.export.ExportedProgram:
    return exported(TorchProgram(onnx.load(path)).eval(), torch.zeros(32, 1, 8, 8), free=True)


def test_the_rewritten_graph_answers_as_the_file_does(symmetric_onnx: Path, digits: Dataset):
    images = digits.test.images[:200]
    expected = open_session(symmetric_onnx, optimise=False).run(None, {"images": images})[0]
    rewritten = rewrite(program_of(symmetric_onnx).module(), fake_quantize)
    found = rewritten(torch.from_numpy(images[:32])).detach().numpy()
    assert np.abs(found - expected[:32]).max() < 0.02 * np.ptp(expected)  # half-way cases round to either side
    assert (found.argmax(1) == expected[:32].argmax(1)).all()


def test_every_pair_becomes_one_operator(symmetric_onnx: Path):
    quantizers = sum(node.op_type == "DequantizeLinear" for node in onnx.load(symmetric_onnx).graph.node)
    nodes = list(rewrite(program_of(symmetric_onnx).module(), fake_quantize).graph.nodes)
    assert sum(node.target is fake_quantize for node in nodes) == quantizers
    assert not [node for node in nodes if "quantized_decomposed" in str(node.target)]


def test_modelopts_own_operator_exports(symmetric_onnx: Path):
    pytest.importorskip("modelopt.torch.quantization", reason="ModelOpt is not installed")
    operator = torch.ops.tensorrt.quantize_op.default
    program = exported(rewrite(program_of(symmetric_onnx).module(), operator), torch.zeros(32, 1, 8, 8), free=True)
    assert any(node.target is operator for node in program.graph.nodes)


def test_zero_points_are_refused(int8_onnx: Path):
    with pytest.raises(StageError, match="int8 is wanted"):
        rewrite(program_of(int8_onnx).module(), fake_quantize)


def test_quantizers_of_different_scales_are_refused():
    class Apart(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            ops = torch.ops.quantized_decomposed
            whole = ops.quantize_per_tensor(x, 0.1, 0, -128, 127, torch.int8)
            return ops.dequantize_per_tensor(whole, 0.2, 0, -128, 127, torch.int8)

    with pytest.raises(StageError, match="no quantizer of the same scale"):
        rewrite(exported(Apart(), torch.zeros(2, 3), free=False).module(), fake_quantize)


class Pieces(torch.nn.Module):
    """What a partitioner makes of a graph: engines, and what is left."""

    def __init__(self, engines: int, *, left: bool) -> None:
        super().__init__()
        graph = torch.fx.Graph()
        value = graph.placeholder("images")
        for index in range(engines):
            setattr(self, f"_run_on_acc_{index}", torch.nn.Identity())
            value = graph.call_module(f"_run_on_acc_{index}", (value,))
        value = graph.call_function(torch.erf, (value,)) if left else value
        graph.output(value)
        self.graph = graph


def test_one_engine_and_nothing_beside_it():
    check_one_engine(Pieces(1, left=False), torch.nn.Identity)
    with pytest.raises(StageError, match="2 engines, exactly one"):
        check_one_engine(Pieces(2, left=False), torch.nn.Identity)
    with pytest.raises(StageError, match="0 engines, exactly one"):
        check_one_engine(Pieces(0, left=False), torch.nn.Identity)
    with pytest.raises(StageError, match=r"not all of it fits into TensorRT: erf \(erf\)"):
        check_one_engine(Pieces(1, left=True), torch.nn.Identity)


def test_the_signature_is_read_off_a_saved_program(float_onnx: Path, tmp_path: Path):
    path = tmp_path / "model.pt2"
    torch.export.save(program_of(float_onnx), path)
    signature, capacity = program_signature(torch.export.load(path), path)
    assert (signature.image_shape, signature.classes, signature.batch, capacity) == ((1, 8, 8), 10, None, 32)
    twice = exported(torch.nn.Flatten(0), torch.zeros(2, 1, 8, 8), free=False)
    with pytest.raises(EdgeproofError, match="logits"):
        program_signature(twice, path)


def test_a_missing_runtime_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, int8_onnx: Path, tmp_path: Path, capsys
):
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    assert "edgeproof[torch-tensorrt]" in TARGET.available().reason
    with pytest.raises(BackendMissing, match="torch_tensorrt"):
        TARGET.build(int8_onnx, tmp_path)
    assert capsys.readouterr().out == ""


def test_a_runtime_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch):
    for name in ("modelopt", "modelopt.torch", "modelopt.torch.quantization", "torch_tensorrt"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())  # type: ignore[misc]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no NVIDIA GPU" in TARGET.available().reason


def test_options_are_checked():
    with pytest.raises(ValueError, match="best_batch is 8"):
        TorchTensorRTOptions(batch=4, best_batch=8)


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.skipif(not _STATE.available, reason=_STATE.reason)
def test_a_built_engine_answers_as_the_file_does(symmetric_onnx: Path, digits: Dataset, tmp_path: Path):
    images = digits.test.images[:65]
    expected = open_session(symmetric_onnx, optimise=False).run(None, {"images": images})[0]
    built = TARGET.build(symmetric_onnx, tmp_path)
    assert list((tmp_path / "engine_cache").iterdir())
    with TARGET.load(EngineFile.of("torch_tensorrt", built.path)) as engine:
        for count in (0, 1, 7, 33, 65):
            found = engine(images[:count])
            assert found.shape == (count, 10)
            assert np.abs(found - expected[:count]).max(initial=0) < 0.05 * np.ptp(expected)
