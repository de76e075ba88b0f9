"""The engine protocol, held by every registered target and every kind of model; those that are not here say why."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import EdgeproofError, StageError, UsageError
from edgeproof.stages.data import Dataset
from edgeproof.stages.export import export_onnx
from edgeproof.stages.models import build_model
from edgeproof.stages.models.resnet import BasicBlock, ResNet
from edgeproof.stages.quantize import quantize_onnx
from edgeproof.stages.twin import load_twin
from edgeproof.targets.base import Engine, EngineFile, Images, Target, targets
from edgeproof.targets.onnxruntime.saturation import sums_saturate
from edgeproof.targets.onnxruntime.target import open_session
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

# What each calls itself when it refuses a graph.
RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "executorch": "ExecuTorch"}
# Files that stand in for every kind of graph; the small CNN is the trained student of digits.
# The short ResNet has a block of each kind, with a projection in its shortcut and without. ResNet-18 is made of the
# same, and MobileNetV2 of what the small mobile network is made of, 52 layers deep: minutes for the slower builders.
WALKED = ("resnet18", "mobilenet_v2")
MODELS = [
    pytest.param(f"{model} {precision}", marks=[pytest.mark.walk] if model in WALKED else [])
    for model in ("cnn8_small", "short_resnet", "mobile_small", *WALKED)
    for precision in ("fp32", "int8")
]
SHAPE, CLASSES, SAMPLES = (3, 16, 16), 10, 33
# Largest difference to the unoptimised graph, of the range of its logits. Other orders of summation move a float's last
# bits; in an int8 graph they may move a value over a rounding edge, and so a logit by some quantization steps.
TOLERANCE = {"fp32": 1e-4, "int8": 0.05}


@dataclass
class Case:
    """An ONNX file, and images that a robust model would be shown."""

    name: str
    path: Path
    clean: Images
    adversarial: Images

    @property
    def precision(self) -> str:
        return self.name.split()[1]


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in targets.names()]
)
def target(request: pytest.FixtureRequest) -> Target:
    found = targets[request.param]
    state = found.available()
    if not state.available:
        pytest.skip(state.reason)
    return found


def short_resnet() -> torch.nn.Module:
    torch.manual_seed(0)
    return ResNet(BasicBlock, (1, 1, 0, 0), SHAPE[0], CLASSES)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory):
    """Float ONNX files with random weights, and int8 ones in the scheme of a target; each is made once."""
    folder = tmp_path_factory.mktemp("models")
    images = np.random.default_rng(0).random((SAMPLES, *SHAPE), np.float32)

    @cache
    def floating(name: str) -> Path:
        model = short_resnet() if name == "short_resnet" else build_model(name, SHAPE, CLASSES, seed=0)
        model.train()
        with torch.no_grad():  # statistics of BatchNorm, without which deep random networks answer nothing
            for _ in range(3):
                model(torch.from_numpy(images))
        path = folder / f"{name}.onnx"
        export_onnx(model.eval(), SHAPE, path, opset=18)
        return path

    @cache
    def quantized(name: str, target: str) -> Path:
        path = folder / f"{name}-{targets[target].scheme.name}.onnx"
        if not path.exists():
            quantize_onnx(floating(name), path, targets[target].scheme, images)
        return path

    return lambda name, precision, target: floating(name) if precision == "fp32" else quantized(name, target)


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest, target: Target, files) -> Case:
    name, precision = request.param.split()
    if name == "cnn8_small":
        images: Images = request.getfixturevalue("digits").test.images[:SAMPLES]
        path = request.getfixturevalue("student_file")(target.name, precision)
    else:
        path = files(name, precision, target.name)
        images = np.random.default_rng(1).random((SAMPLES, *SHAPE), np.float32)
    if precision == "int8" and target.name == "openvino" and sums_saturate():
        path = seven_bit_weights(path, request.getfixturevalue("tmp_path_factory").mktemp("seven") / "model.onnx")
    return Case(request.param, path, images, stepped(path, images))


def seven_bit_weights(path: Path, out: Path) -> Path:
    """The network with weights of half the range, so that no pair of products saturates.

    Without VNNI, OpenVINO's kernels add pairs of products of 8 bits in 16, and lose what does not fit; unlike ONNX
    Runtime's they have no setting for it. Then its answers to 8-bit weights are the processor's, and no test's.
    """
    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    halved: set[str] = set()
    for node in model.graph.node:
        weights = tensors.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weights is None or weights.data_type != onnx.TensorProto.INT8:
            continue
        scale = tensors[node.input[1]]
        assert not {weights.name, scale.name} & halved
        halved |= {weights.name, scale.name}
        values = numpy_helper.to_array(weights).astype(np.float32)
        weights.CopyFrom(numpy_helper.from_array((values / 2).round().astype(np.int8), weights.name))
        scale.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(scale), scale.name))
    assert halved
    onnx.save(model, out)
    return out


def stepped(path: Path, images: Images) -> Images:
    """One step of the fast gradient sign method through the twin: towards larger losses of its own answers."""
    twin = load_twin(path)
    leaf = torch.from_numpy(images).requires_grad_()
    logits = twin(leaf)
    loss = torch.nn.functional.cross_entropy(logits, logits.argmax(1))
    (slope,) = torch.autograd.grad(loss, leaf)
    return (leaf + 8 / 255 * slope.sign()).clamp(0, 1).detach().numpy()


@pytest.fixture(scope="module")
def built(target: Target, case: Case, student_file, student_engine, tmp_path_factory) -> EngineFile:
    if case.path == student_file(target.name, case.precision):
        return student_engine(target.name, case.precision)
    return target.build(case.path, tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def loaded(target: Target, built: EngineFile):
    with target.load(built) as engine:
        yield engine


@pytest.fixture(scope="module")
def small(target: Target, student_engine) -> EngineFile:
    """A small engine for what does not depend on the model."""
    return student_engine(target.name, "int8")


@pytest.fixture
def engine(target: Target, small: EngineFile):
    with target.load(small) as found:
        yield found


def reference(path: Path, images: Images) -> np.ndarray:
    """The graph as it is written: ONNX Runtime without optimisation."""
    session = open_session(path, optimise=False)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


@pytest.mark.parametrize("kind", ["clean", "adversarial"])
def test_answers_are_those_of_the_unoptimised_graph(loaded: Engine, case: Case, kind: str):
    images = getattr(case, kind)
    expected, found = reference(case.path, images), loaded(images)
    needed = np.abs(found - expected).max() / np.ptp(expected)
    assert needed <= TOLERANCE[case.precision], f"{case.name}, {kind}: a tolerance of {needed:.2e} would pass"
    # Two labels may differ only where the expected answer is as undecided as the tolerance allows.
    first, second = np.sort(expected, axis=1)[:, -1], np.sort(expected, axis=1)[:, -2]
    other = found.argmax(1) != expected.argmax(1)
    assert ((first - second)[other] <= 2 * TOLERANCE[case.precision] * np.ptp(expected)).all()


def test_any_number_of_images(loaded: Engine, case: Case):
    together = loaded(case.clean)
    for count in (0, 1, 7, 33):
        logits = loaded(case.clean[:count])
        assert logits.shape == (count, CLASSES)
        assert logits.dtype == np.float32
        assert np.array_equal(logits, together[:count])


def test_answers_do_not_depend_on_order_or_neighbours(loaded: Engine, case: Case):
    together = loaded(case.clean)
    order = np.random.default_rng(2).permutation(SAMPLES)
    assert np.array_equal(loaded(case.clean[order]), together[order])
    mixed = loaded(np.concatenate([case.adversarial[:5], case.clean[:5]]))
    assert np.array_equal(mixed[5:], together[:5])
    assert np.array_equal(np.concatenate([loaded(case.clean[row : row + 1]) for row in range(4)]), together[:4])


def test_the_same_images_have_the_same_answers(target: Target, built: EngineFile, loaded: Engine, case: Case):
    before = loaded(case.clean[:5])
    assert np.array_equal(loaded(case.clean[:5]), before)
    with target.load(built) as again:  # two at once
        assert np.array_equal(again(case.clean[:5]), before)
        assert np.array_equal(loaded(case.clean[:5]), before)
    assert np.array_equal(loaded(case.clean[:5]), before)  # what others do at their end is no affair of its own


def test_two_threads_may_ask(loaded: Engine, case: Case):
    together = loaded(case.clean)

    def ask(first: int) -> list[bool]:
        parts = [slice(first, first + 1 + turn % 3) for turn in range(6)]
        return [np.array_equal(loaded(case.clean[part]), together[part]) for part in parts]

    with ThreadPoolExecutor(2) as pool:
        assert all(map(all, pool.map(ask, range(4))))


def test_every_call_returns_its_own_array(engine: Engine, digits: Dataset):
    for count in (1, 3):
        first = engine(digits.test.images[:count])
        kept = first.copy()
        first[:] = -np.inf  # Square Attack writes into what it gets
        assert np.array_equal(engine(digits.test.images[:count]), kept)
        shown = digits.test.images[:count].copy()
        engine(shown)
        assert np.array_equal(shown, digits.test.images[:count])


def test_fixed_batch_models_serve_any_number(
    target: Target, student_engine, float_onnx: Path, digits: Dataset, tmp_path: Path
):
    model = onnx.load(float_onnx)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    path = tmp_path / "fixed.onnx"
    onnx.save(model, path)
    images = digits.test.images[:11]
    free = target.load(student_engine(target.name, "fp32"))
    fixed = target.load(target.build(path, tmp_path / "fixed"))
    assert fixed.signature.batch == 4
    np.testing.assert_allclose(fixed(images), free(images), atol=1e-5)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 1, 8, 8)), np.zeros((2, 3, 8, 8), np.float32), np.zeros((1, 8, 8), np.float32), [[0.0]]]
)
def test_wrong_arrays_are_refused(engine: Engine, images):
    with pytest.raises(EdgeproofError, match="the engine takes"):
        engine(images)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_that_are_no_numbers_are_refused(engine: Engine, digits: Dataset, value: float):
    """What a runtime makes of them differs, and int8 kernels turn them into ordinary logits."""
    images = digits.test.images[:3].copy()
    images[1, 0, 2, 3] = value
    with pytest.raises(EdgeproofError, match="image 1 of 3 holds NaN or infinity"):
        engine(images)


def test_a_closed_engine_says_so(target: Target, small: EngineFile, digits: Dataset):
    loaded = target.load(small)
    loaded.close()
    loaded.close()
    with pytest.raises(EdgeproofError, match="closed"):
        loaded(digits.test.images[:1])


@pytest.mark.parametrize("harm", [lambda data: data + b"\0", lambda data: data[: len(data) // 2], lambda data: b""])
def test_a_truncated_or_altered_file_is_refused(target: Target, small: EngineFile, tmp_path: Path, harm):
    path = Path(shutil.copy(small.path, tmp_path))
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(StageError, match="altered"):
        target.load(EngineFile(target.name, path, small.sha256))


def test_a_truncated_model_is_refused_whatever_its_digest(target: Target, small: EngineFile, tmp_path: Path):
    path = tmp_path / small.path.name
    path.write_bytes(small.path.read_bytes()[: small.path.stat().st_size // 2])
    with pytest.raises(EdgeproofError, match=r"truncated|refuses the model"):
        target.load(EngineFile.of(target.name, path))


def test_a_graph_the_runtime_refuses(target: Target, float_onnx: Path, tmp_path: Path):
    model = onnx.load(float_onnx)
    model.graph.node[0].domain = "nobody.knows"
    model.opset_import.append(onnx.helper.make_opsetid("nobody.knows", 1))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(StageError, match=rf"{RUNTIMES.get(target.name, '')} refuses the model: .*nobody\.knows"):
        target.build(path, tmp_path / "engine")


def test_floats_are_computed_in_float32(target: Target, student_engine, float_onnx: Path, digits: Dataset):
    """OpenVINO would take bfloat16 where the processor has it."""
    model = onnx.load(float_onnx)
    expected = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: digits.test.images[:16]})[0]
    found = target.load(student_engine(target.name, "fp32"))(digits.test.images[:16])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_largest_sums_are_exact(tmp_path: Path):
    """Pairs of products of 255 and 127 do not fit 16 bits: the session must not take kernels that would lose them."""
    path = tmp_path / "sums.onnx"
    depth = 64
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "y_scale", "x_zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "y_scale", "x_zero"], ["y"]),
    ]
    constants = {
        "x_scale": np.float32(1 / 255),
        "x_zero": np.uint8(0),
        "w": np.full((depth, 8), 127, np.int8),
        "w_scale": np.float32(1 / 127),
        "w_zero": np.int8(0),
        "y_scale": np.float32(depth / 255),
    }
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", depth])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    (found,) = open_session(path, threads=1).run(None, {"x": np.ones((1, depth), np.float32)})
    np.testing.assert_allclose(found, np.full((1, 8), depth), rtol=1e-5)


def test_an_unknown_target_offers_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'onnxruntime'"):
        targets["onnxruntme"]
