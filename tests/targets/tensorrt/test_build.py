"""Plans, built for real by TensorRT for RTX, which needs no GPU for that."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import BackendMissing, StageError, UsageError
from edgeproof.stages.export import export_onnx
from edgeproof.stages.models import build_model
from edgeproof.stages.quantize import quantize_onnx
from edgeproof.stages.quantize.half import to_half
from edgeproof.targets.base import EngineFile, Images, Target, TargetOptions, targets
from edgeproof.targets.gpu import gpu_here
from edgeproof.targets.tensorrt import api
from edgeproof.targets.tensorrt.build import Plan, build_plan
from edgeproof.targets.tensorrt.library import rtx_library
from edgeproof.targets.tensorrt.options import PlanOptions, RtxOptions, TensorRtOptions
from edgeproof.targets.tensorrt.plan.record import Sheet, read_sheet

TENSORRT = targets["tensorrt"]
# A residual one, and one with depthwise convolutions; the other deep networks of the model suite take seconds each.
OTHERS = ["wrn_10_1", "mobilenet_v2", pytest.param("resnet18", marks=pytest.mark.walk)]


@pytest.fixture(scope="module")
def rtx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    target = targets["tensorrt_rtx"]
    if not target.available().builds:
        pytest.skip(target.available().reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPROOF_PLAN_KEY", str(tmp_path_factory.mktemp("key") / "plan.key"))
        yield target


def in_every_precision(float_model: Path, images: Images) -> dict[str, Path]:
    found = {
        "fp32": float_model,
        "fp16": float_model.with_name("half.onnx"),
        "int8": float_model.with_name("int8.onnx"),
    }
    to_half(float_model, found["fp16"])
    quantize_onnx(float_model, found["int8"], TENSORRT.scheme, images)
    return found


@pytest.fixture(scope="module")
def student_files(
    rtx: Target, float_onnx: Path, student_file, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    half = tmp_path_factory.mktemp("student") / "half.onnx"
    to_half(float_onnx, half)
    return {"fp32": float_onnx, "fp16": half, "int8": student_file("tensorrt", "int8")}


@pytest.fixture(scope="module", params=OTHERS)
def other_files(
    request: pytest.FixtureRequest, rtx: Target, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    path = tmp_path_factory.mktemp(request.param) / "float.onnx"
    export_onnx(build_model(request.param, (3, 32, 32), 10, seed=0), (3, 32, 32), path, opset=18)
    return in_every_precision(path, np.random.default_rng(0).random((4, 3, 32, 32), np.float32))


@pytest.fixture(scope="module")
def built(rtx: Target, student_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> EngineFile:
    return rtx.build(student_files["int8"], tmp_path_factory.mktemp("built"))


def sheet_for(engine: EngineFile) -> Sheet:
    return read_sheet(engine.path, engine.sha256)


def float_bytes(model: Path) -> int:
    """Bytes of a file's float tensors."""
    stored = (each for each in onnx.load(model).graph.initializer if each.data_type == onnx.TensorProto.FLOAT)
    return sum(4 * int(np.prod(tensor.dims)) for tensor in stored)


def check_weights(files: dict[str, Path], rtx: Target, folder: Path) -> None:
    """What the builder stores is what the graph says: 4, 2 and 1 bytes a weight."""
    held = {name: sheet_for(rtx.build(path, folder / name)).weight_bytes or 0 for name, path in files.items()}
    full = float_bytes(files["fp32"])
    assert held["fp32"] == pytest.approx(full, rel=0.03)
    assert held["fp16"] == pytest.approx(full / 2, rel=0.1)
    # Float biases, scales, and what small filters are padded with come on top: 0.38 for the student, whose filters are
    # all small, 0.28 for MobileNetV2, 0.25 for ResNet-18.
    assert full / 4 <= held["int8"] <= 0.4 * full


def test_the_student_in_every_precision(student_files: dict[str, Path], rtx: Target, tmp_path: Path):
    check_weights(student_files, rtx, tmp_path)


def test_other_models_in_every_precision(other_files: dict[str, Path], rtx: Target, tmp_path: Path):
    check_weights(other_files, rtx, tmp_path)


def test_a_graph_without_quantized_weights_stores_floats(student_files: dict[str, Path], rtx: Target, tmp_path: Path):
    """The check above can fail: the same graph with its activations quantized alone."""
    model = onnx.load(student_files["int8"])
    stored = {tensor.name for tensor in model.graph.initializer}
    quantized = {node.output[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            pair = next(other for other in model.graph.node if other.output[0] == node.input[1])
            assert quantized[pair.input[0]].input[0] in stored
            node.input[1] = quantized[pair.input[0]].input[0]
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    held = sheet_for(rtx.build(path, tmp_path / "engine")).weight_bytes
    assert held is not None
    assert held > 0.9 * float_bytes(student_files["fp32"])


def test_the_sheet_says_what_the_plan_is(built: EngineFile, student_files: dict[str, Path]):
    sheet = sheet_for(built)
    assert built.sha256 == hashlib.sha256(built.path.read_bytes()).hexdigest() == sheet.plan_sha256
    assert sheet.onnx_sha256 == hashlib.sha256(student_files["int8"].read_bytes()).hexdigest()
    assert (sheet.target, sheet.version, sheet.options) == ("tensorrt_rtx", rtx_library().version, {})


def test_options_reach_the_builder(student_files: dict[str, Path], rtx: Target, tmp_path: Path):
    def build(**chosen) -> EngineFile:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return rtx.build(student_files["int8"], folder, options=RtxOptions(**chosen))

    plain, ada, blackwell = build(), build(compute_capability="8.9"), build(compute_capability="12.0")
    one, many = build(max_batch=1), build(max_batch=256, opt_batch=64)
    sizes = [each.path.stat().st_size for each in (ada, blackwell, one, many)]
    assert len(set(sizes)) == 4, "other kernels for another GPU and for other batches"
    assert plain.options == {}
    assert sheet_for(many).options == many.options == {"max_batch": 256, "opt_batch": 64}
    with pytest.raises(StageError, match=r"cannot build the engine: .*within workspace limit"):
        build(workspace_mib=1)
    with pytest.raises(StageError, match=r"cannot build the engine: .*Turing \(SM75\): FP32 GEMM is not supported"):
        build(compute_capability="7.5")
    with pytest.raises(UsageError, match=r"capability 9\.0, only for 7\.5, 8\.0"):
        build(compute_capability="9.0")


class Seen(Exception):
    """A builder's configuration was looked at; nothing need be built."""


def configured(model: Path, target: Target, options: PlanOptions) -> Any:
    """The real configuration that options come to: what it says of itself."""
    library = rtx_library()
    kept: list[Any] = []

    def look(config: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # timing caches are kept for the API's sake
            target._configure(library, config, options)  # type: ignore[attr-defined]
        flags = {name for name, flag in library.api.BuilderFlag.__members__.items() if config.get_flag(flag)}  # type: ignore[attr-defined]
        pool = config.get_memory_pool_limit(library.api.MemoryPoolType.WORKSPACE)
        kept.append((flags, pool, config.builder_optimization_level, config.profiling_verbosity.name))
        raise Seen

    with pytest.raises(Seen):
        build_plan(library, model, options, look, threads=1, cached=False)
    return kept[0]


def test_flags_are_the_options(student_files: dict[str, Path], rtx: Target):
    model = student_files["int8"]
    flags, _, level, verbosity = configured(model, TENSORRT, TensorRtOptions())
    assert (flags, level, verbosity) == (set(), 3, "DETAILED"), "TF32, which is on by itself, is off"
    for option, flag in {
        "tf32": "TF32", "refittable": "REFIT", "strip_weights": "STRIP_PLAN", "version_compatible": "VERSION_COMPATIBLE"
    }.items():  # fmt: skip
        assert configured(model, TENSORRT, TensorRtOptions(**{option: True}))[0] == {flag}
    assert configured(model, TENSORRT, TensorRtOptions(workspace_mib=64, optimization_level=5))[1:3] == (64 << 20, 5)
    assert configured(model, rtx, RtxOptions())[0] == set()


def test_a_fixed_batch_needs_no_profile(student_files: dict[str, Path], rtx: Target, tmp_path: Path):
    model = onnx.load(student_files["fp32"])
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    path = tmp_path / "fixed.onnx"
    onnx.save(model, path)
    assert rtx.build(path, tmp_path / "engine").path.is_file()


def test_options_of_another_target(student_files: dict[str, Path], rtx: Target, tmp_path: Path):
    for options in (TargetOptions(), TensorRtOptions()):
        with pytest.raises(UsageError, match="'tensorrt_rtx' takes RtxOptions"):
            rtx.build(student_files["int8"], tmp_path, options=options)


@pytest.mark.skipif(gpu_here() is not None, reason="there is a GPU")
def test_what_needs_a_gpu_says_so(student_files: dict[str, Path], rtx: Target, tmp_path: Path):
    for chosen in ({"refittable": True}, {"strip_weights": True}):
        with pytest.raises(BackendMissing, match="with an NVIDIA GPU only"):
            rtx.build(student_files["int8"], tmp_path, options=RtxOptions(**chosen))
    state = rtx.available()
    assert (state.available, state.builds) == (False, True)
    assert "it builds engines without one" in state.reason
    assert state.versions["tensorrt-rtx-cu13-bindings"] == rtx_library().version


def test_the_api_that_we_describe_is_there(rtx: Target):
    """TensorRT itself is rarely at hand; every name that is used of both is in this one."""
    module = rtx_library().api

    def missing(described: type, thing: object) -> set[str]:
        return {name for name in vars(described) if name[0] != "_" and not hasattr(thing, name)}

    pairs = {
        "Builder": api.Builder, "OnnxParser": api.OnnxParser, "Runtime": api.Runtime, "Refitter": api.Refitter,
        "OnnxParserRefitter": api.OnnxParserRefitter, "BuilderFlag": api.BuilderFlags, "ICudaEngine": api.CudaEngine,
        "NetworkDefinitionCreationFlag": api.NetworkFlags, "MemoryPoolType": api.MemoryPools,
        "ProfilingVerbosity": api.Verbosities, "LayerInformationFormat": api.InformationFormats,
        "TempfileControlFlag": api.TempfileFlags, "IBuilderConfig": api.BuilderConfig, "ITensor": api.Tensor,
        "IExecutionContext": api.ExecutionContext, "EngineInspector": api.Inspector, "ParserError": api.ParserError,
        "INetworkDefinition": api.Network, "IOptimizationProfile": api.Profile, "ITimingCache": api.TimingCache,
    }  # fmt: skip
    assert missing(api.Api, module) == set()
    assert [name for name, described in pairs.items() if missing(described, getattr(module, name))] == []
    assert missing(api.RtxBuilderConfig, module.IBuilderConfig) == set()  # type: ignore[attr-defined]


class TestTensorRtsOwnOptions:
    """Set on the builder that is at hand; it keeps timing caches, empty ones, for the API's sake."""

    @staticmethod
    def build(model: Path, options: TensorRtOptions) -> Plan:
        library = rtx_library()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that timing caches are for the API's sake
            return build_plan(
                library,
                model,
                options,
                lambda config: TENSORRT._configure(library, config, options),  # type: ignore[attr-defined]
                threads=1,
                cached=True,
            )

    def test_a_timing_cache_is_pinned_by_its_digest(self, rtx: Target, student_files: dict[str, Path], tmp_path: Path):
        first = self.build(student_files["int8"], TensorRtOptions(optimization_level=1))
        assert first.timing_cache
        path = tmp_path / "timing.cache"
        path.write_bytes(first.timing_cache)
        digest = hashlib.sha256(first.timing_cache).hexdigest()
        pinned = TensorRtOptions(timing_cache=str(path), timing_cache_sha256=digest)
        assert self.build(student_files["int8"], pinned).content
        path.write_bytes(first.timing_cache + b"\0")
        with pytest.raises(UsageError, match=f"not {digest}: another file, or it was altered"):
            self.build(student_files["int8"], pinned)
        path.unlink()
        with pytest.raises(UsageError, match="No such file"):
            self.build(student_files["int8"], pinned)

    def test_version_compatible_plans(self, rtx: Target, student_files: dict[str, Path]):
        """They hold the lean runtime, which this library does not have, and it says so."""
        with pytest.raises(StageError, match="libnvinfer_lean"):
            self.build(student_files["int8"], TensorRtOptions(version_compatible=True))
