"""Options of targets: checked without pydantic, bound to the engine, and what each of them does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from edgeproof.core.errors import BackendMissing, StageError, UsageError
from edgeproof.stages.data import Dataset
from edgeproof.targets.base import EngineFile, TargetOptions, targets
from edgeproof.targets.onnxruntime.options import OnnxRuntimeOptions, check_placement, session_options
from edgeproof.targets.onnxruntime.target import BoundEngine, open_session
from edgeproof.targets.option_values import read_options


@dataclass(frozen=True, kw_only=True)
class Options(TargetOptions):
    kind: Literal["fast", "small"] = "fast"
    parts: int | None = None
    share: float = 0.5
    loud: bool = False
    name: str = "x"


def test_options_are_read_from_text():
    lines = ["kind=small", "parts=3", "share=1", "loud=true", "name=7"]
    assert read_options(Options, lines) == Options(kind="small", parts=3, share=1, loud=True, name="7")
    assert read_options(Options, ["parts=null"]).chosen == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kind=big", "kind: one of fast, small, got 'big'"),
        ("parts=1.5", "parts: a whole number or null, got 1.5"),
        ("parts=true", "parts: a whole number or null, got True"),
        ("loud=1", "loud: true or false, got 1"),
        ("share=much", "share: a number, got 'much'"),
        ("knd=fast", "knd: unknown option; did you mean 'kind'?"),
        ("kind", "'kind': options are written name=value"),
    ],
)
def test_wrong_options_are_named(line: str, words: str):
    with pytest.raises(UsageError) as caught:
        read_options(Options, [line])
    assert words in str(caught.value)


def test_an_engine_keeps_its_options_and_foreign_ones_are_refused(int8_onnx: Path, tmp_path: Path):
    target = targets["onnxruntime"]
    built = target.build(int8_onnx, tmp_path, options=OnnxRuntimeOptions(optimisation="none"))
    assert built.options == {"optimisation": "none"}
    assert target.options_of(built) == OnnxRuntimeOptions(optimisation="none")
    for wrong in ({"optimisation": "best"}, {"hint": "latency"}):
        with pytest.raises(StageError, match="no options of target 'onnxruntime'"):
            target.load(replace(built, options=wrong))


def test_levels_of_optimisation_reach_the_runtime():
    chosen = {name: session_options(OnnxRuntimeOptions(optimisation=name), 1) for name in ("none", "all")}
    assert [int(each.graph_optimization_level) for each in chosen.values()] == [0, 99]
    assert session_options(OnnxRuntimeOptions(deterministic=True), 1).use_deterministic_compute


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_here_is_said(int8_onnx: Path, provider: Literal["cuda", "tensorrt"]):
    import onnxruntime

    if len(onnxruntime.get_available_providers()) > 2:
        pytest.skip("this build of ONNX Runtime has providers of its own")
    file = EngineFile.of("onnxruntime", int8_onnx, OnnxRuntimeOptions(provider=provider))
    with pytest.raises(BackendMissing, match="install onnxruntime-gpu"):
        targets["onnxruntime"].load(file)


def test_nodes_that_fell_back_are_named(int8_onnx: Path, monkeypatch: pytest.MonkeyPatch):
    """The Azure provider takes no node of an image classifier, so that all fall back to the CPU."""
    import onnxruntime
    from edgeproof.targets.onnxruntime import options as onnxruntime_options

    azure = "AzureExecutionProvider"
    if azure not in onnxruntime.get_available_providers():
        pytest.skip(f"this build of ONNX Runtime has no {azure}")
    monkeypatch.setitem(onnxruntime_options.PROVIDERS, "cuda", azure)
    refused, allowed = OnnxRuntimeOptions(provider="cuda"), OnnxRuntimeOptions(provider="cuda", fallback=True)
    session = onnxruntime.InferenceSession(str(int8_onnx), session_options(refused, 1), providers=[azure])
    with pytest.raises(StageError, match=rf"{azure} does not take (\d+) of \1 nodes: .*\(.*, on CPUExecutionProvider"):
        check_placement(session, refused, int8_onnx)
    (note,) = check_placement(session, allowed, int8_onnx)
    assert "does not take" in note
    monkeypatch.setitem(onnxruntime_options.PROVIDERS, "cuda", "CPUExecutionProvider")
    assert check_placement(session, refused, int8_onnx) == ()


def test_bound_memory_answers_the_same(int8_onnx: Path, digits: Dataset):
    """IO binding as on a GPU, here in the processor's memory."""
    images = digits.test.images[:9]
    plain = targets["onnxruntime"].load(EngineFile.of("onnxruntime", int8_onnx))
    bound = BoundEngine(open_session(int8_onnx), plain.signature, device="cpu")
    assert np.array_equal(bound(images), plain(images))


@pytest.mark.gpu
def test_cuda_answers_as_the_cpu(float_onnx: Path, digits: Dataset):
    pytest.importorskip("onnxruntime")
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this build of ONNX Runtime has no CUDAExecutionProvider")
    target, images = targets["onnxruntime"], digits.test.images[:64]
    plain = target.load(EngineFile.of("onnxruntime", float_onnx))
    there = target.load(EngineFile.of("onnxruntime", float_onnx, OnnxRuntimeOptions(provider="cuda")))
    assert there.notes == ()
    np.testing.assert_allclose(there(images), plain(images), atol=1e-4)


@pytest.fixture
def openvino():
    state = targets["openvino"].available()
    if not state.available:
        pytest.skip(state.reason)
    return targets["openvino"]


@pytest.mark.parametrize("chosen", [{"hint": "throughput"}, {"hint": "throughput", "streams": 2}, {"streams": 2}])
def test_openvino_answers_the_same_in_streams(openvino, int8_onnx: Path, digits: Dataset, chosen: dict):
    images = digits.test.images[:23]
    plain = openvino.load(EngineFile.of("openvino", int8_onnx))(images)
    with openvino.load(EngineFile.of("openvino", int8_onnx, openvino.options(**chosen)), threads=2) as engine:
        assert np.array_equal(engine(images), plain)
        assert np.array_equal(engine(images[:1]), plain[:1])


def test_openvino_says_which_devices_there_are(openvino, int8_onnx: Path):
    from openvino import Core

    if "NPU" in Core().available_devices:
        pytest.skip("there is one")
    with pytest.raises(BackendMissing, match=r"no device NPU here \(there are: .*CPU"):
        openvino.load(EngineFile.of("openvino", int8_onnx, openvino.options(device="NPU")))


def test_openvino_is_imported_without_its_telemetry(openvino):
    """Its package would start a process that reports the import."""
    code = (
        "import json, sys, multiprocessing\n"
        "started = []\n"
        "multiprocessing.Process.start = lambda self: started.append(self)\n"
        "from edgeproof.targets.base import targets\n"
        "assert targets['openvino'].available().available\n"
        "print(json.dumps([len(started), 'openvino_telemetry' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [0, False]
