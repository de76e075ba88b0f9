"""The trainable twin answers as its file does, before and after what it has learnt is written back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.stages.data import Dataset
from edgeproof.stages.quantize import quantize_onnx
from edgeproof.stages.recover import TrainableTwin, write_back
from edgeproof.stages.twin import Twin
from edgeproof.stages.twin.backward import fake_quantize
from edgeproof.stages.twin.types import RANGES
from edgeproof.targets.base import Scheme, targets
from edgeproof.targets.onnxruntime.target import open_session
from onnx import TensorProto, helper, numpy_helper

U8S8 = targets["onnxruntime"].scheme
SYMMETRIC = Scheme("s8s8", "int8", activation_symmetric=True, quantize_bias=False, weight_qdq_pair=True)
SCHEMES = {
    "u8s8": U8S8,
    "per_tensor": replace(U8S8, per_channel=False),
    "swallowed_relus": replace(U8S8, keep_activations=False),
    "symmetric": SYMMETRIC,
    "int4": replace(U8S8, weight="int4"),
    "symmetric_int4": replace(SYMMETRIC, weight="int4"),
    "coarse": replace(U8S8, weight="int4", activation="uint4"),
}


@pytest.fixture(params=SCHEMES, scope="module")
def quantized(
    request: pytest.FixtureRequest, float_onnx: Path, digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("quantized") / "model.onnx"
    quantize_onnx(float_onnx, path, SCHEMES[request.param], digits.train.images[:64])
    return onnx.load(path)


def disturb(twin: TrainableTwin) -> None:
    """Move everything that can be learnt, scales by as much as a tenth."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (*twin.weights, *twin.biases):
            spread = parameter.std() if parameter.numel() > 1 else 1.0
            parameter.add_(0.1 * spread * torch.randn(parameter.shape, generator=generator))
        for scale in twin.scales:
            scale.mul_(0.9 + 0.2 * torch.rand(scale.shape, generator=generator))


def answers(model: onnx.ModelProto, images: np.ndarray, folder: Path) -> np.ndarray:
    path = folder / "answers.onnx"
    onnx.save(model, path)
    session = open_session(path, optimise=False)
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def test_it_starts_as_the_files_twin(quantized: onnx.ModelProto, digits: Dataset):
    images = torch.from_numpy(digits.test.images)
    assert torch.equal(TrainableTwin(quantized)(images), Twin(quantized)(images))


def test_what_is_written_back_answers_as_the_twin_did(quantized: onnx.ModelProto, digits: Dataset, tmp_path: Path):
    images = digits.test.images
    trained = TrainableTwin(quantized)
    before = trained(torch.from_numpy(images)).detach().numpy()
    disturb(trained)
    after = trained(torch.from_numpy(images)).detach().numpy()
    written = write_back(quantized, trained)
    onnx.checker.check_model(written, full_check=True)
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()  # else nothing is shown
    assert np.array_equal(Twin(written)(torch.from_numpy(images)).numpy(), after)
    # The runtime adds in another order, which may move a value over the edge of a step.
    found = answers(written, images, tmp_path)
    assert (np.abs(found - after) <= 1e-5 * np.abs(after).max()).mean() > 0.999
    np.testing.assert_array_equal(found.argmax(1), after.argmax(1))
    # And the file is its own twin's file again.
    assert torch.equal(TrainableTwin(written)(torch.from_numpy(images)), Twin(written)(torch.from_numpy(images)))


def test_only_the_bytes_of_constants_change(quantized: onnx.ModelProto):
    trained = TrainableTwin(quantized)
    disturb(trained)
    written = write_back(quantized, trained)
    assert list(written.graph.node) == list(quantized.graph.node)
    old, new = constants(quantized), constants(written)
    assert old.keys() == new.keys()
    assert all(old[name].data_type == new[name].data_type and old[name].dims == new[name].dims for name in old)
    zero_points = {name for name in old if name.endswith("zero_point")}
    assert zero_points
    assert all(np.array_equal(*(numpy_helper.to_array(each[name]) for each in (old, new))) for name in zero_points)
    assert sum(len(tensor.SerializeToString()) for tensor in new.values()) == sum(
        len(tensor.SerializeToString()) for tensor in old.values()
    )


def test_a_scale_that_a_step_pushes_below_zero_is_one_scale_for_all(float_onnx: Path, digits: Dataset, tmp_path: Path):
    """In training, where parameters are frozen (the attack, the validation), and in the file."""
    quantize_onnx(float_onnx, tmp_path / "model.onnx", U8S8, digits.train.images[:64])
    model = onnx.load(tmp_path / "model.onnx")
    trained = TrainableTwin(model)
    with torch.no_grad():
        trained.scales[0].neg_()
    images = torch.from_numpy(digits.test.images[:50])
    learning = trained(images).detach()
    assert torch.equal(trained.requires_grad_(False)(images), learning)
    assert torch.equal(Twin(write_back(model, trained))(images), learning)  # type: ignore[arg-type]


def test_the_scale_of_an_int32_bias_stays_the_product_of_the_two(float_onnx: Path, digits: Dataset, tmp_path: Path):
    """Runtimes compute in integers and never look at it."""
    quantize_onnx(float_onnx, tmp_path / "model.onnx", U8S8, digits.train.images[:64])
    trained = TrainableTwin(onnx.load(tmp_path / "model.onnx"))
    disturb(trained)
    written = write_back(onnx.load(tmp_path / "model.onnx"), trained)
    values = {name: numpy_helper.to_array(tensor) for name, tensor in constants(written).items()}
    makers = {name: node for node in written.graph.node for name in node.output}
    checked = 0
    for node in written.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            image, weight, bias = (values[makers[name].input[1]] for name in node.input)
            np.testing.assert_allclose(bias, image * weight, rtol=1e-6)
            checked += 1
    assert checked == 4


def without_rounding_of_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """The file with a Clip in the place of every activation's QuantizeLinear and DequantizeLinear."""
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    quantizers = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    for node in list(graph.node):
        before = quantizers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if before is None or before.input[0] in values:
            continue
        low, high = RANGES[kinds[before.input[2]]]
        scale, zero = float(values[before.input[1]]), int(values[before.input[2]])
        bounds = [f"{node.output[0]}/low", f"{node.output[0]}/high"]
        for name, value in zip(bounds, ((low - zero) * scale, (high - zero) * scale), strict=True):
            graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
        node.CopyFrom(helper.make_node("Clip", [before.input[0], *bounds], node.output, name=node.name))
    return model


def test_its_smooth_form_rounds_weights_and_not_activations(
    quantized: onnx.ModelProto, digits: Dataset, tmp_path: Path, request: pytest.FixtureRequest
):
    trained = TrainableTwin(quantized)
    smooth = trained.smooth()
    if "coarse" not in request.node.name:
        assert smooth is None
        return
    assert smooth is not None
    disturb(trained)
    images = digits.test.images
    clipped = without_rounding_of_activations(write_back(quantized, trained))
    expected = answers(clipped, images, tmp_path)
    found = smooth(torch.from_numpy(images)).detach().numpy()
    assert np.allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    exact = trained(torch.from_numpy(images)).detach().numpy()
    assert np.abs(exact - found).max() > 0.01 * np.abs(exact).max()


def test_everything_learns(quantized: onnx.ModelProto, digits: Dataset):
    twin = TrainableTwin(quantized)
    images, labels = torch.from_numpy(digits.train.images[:64]), torch.from_numpy(digits.train.labels[:64])
    torch.nn.functional.cross_entropy(twin(images), labels).backward()
    learnt = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in learnt)
    # All but the images' own scale: a graph that learns to see less is robust to what it does not see.
    (fixed_name,) = twin.masters.fixed
    assert fixed_name == "images_scale"
    assert len(learnt) == len(list(twin.parameters())) - 1
    fixed = TrainableTwin(quantized, learn_scales=False)
    torch.nn.functional.cross_entropy(fixed(images), labels).backward()
    assert all(scale.grad is None for scale in fixed.scales)


@pytest.mark.parametrize(
    ("scale", "zero", "limits"),
    [(torch.tensor([0.02, 0.04, 0.06, 0.08]), 0, (-8, 7)), (torch.tensor([0.013]), 100, (0, 255))],
    ids=["per_channel", "per_tensor"],
)
def test_a_scale_gets_the_gradient_of_lsq(scale: torch.Tensor, zero: int, limits: tuple[int, int]):
    """As torch's own learnable fake quantizers give it."""
    torch.manual_seed(0)
    x = torch.randn(5, 4, 3, 3)
    weights = torch.randn(x.shape)
    ours, theirs = scale.clone().requires_grad_(), scale.clone().requires_grad_()
    points = torch.full((scale.numel(),), float(zero))
    if scale.numel() > 1:
        expected = torch._fake_quantize_learnable_per_channel_affine(x, theirs, points, 1, *limits, 1.0)
        found = fake_quantize(x, ours.reshape(1, -1, 1, 1), zero, limits=limits)
    else:
        expected = torch._fake_quantize_learnable_per_tensor_affine(x, theirs, points, *limits, 1.0)
        found = fake_quantize(x, ours.reshape(()), zero, limits=limits)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


def foreign(*, shared: bool) -> onnx.ModelProto:
    """What other exporters write: a MatMul with a transposed weight and an Add, constants in nodes, scales of their
    own for Q and DQ, a weight shared by two layers, a block-wise int4 weight."""
    generator = np.random.default_rng(0)

    def tensor(name: str, value: np.ndarray, kind: int | None = None) -> onnx.TensorProto:
        if kind is None:
            return numpy_helper.from_array(value, name)
        return helper.make_tensor(name, kind, value.shape, value.reshape(-1).tolist())

    weight = generator.integers(-127, 128, (16, 16)).astype(np.int8)
    stored = [
        tensor("weight", weight),
        tensor("weight_scale", np.float32(0.004)),
        tensor("weight_zero", np.int8(0)),
        tensor("in_scale", np.float32(1 / 255)),
        tensor("in_scale_again", np.float32(1 / 255)),
        tensor("in_zero", np.uint8(0)),
        tensor("bias", generator.standard_normal(16).astype(np.float32)),
        tensor("blocks", generator.integers(-8, 8, (16, 10)), TensorProto.INT4),
        tensor("blocks_scale", generator.uniform(0.05, 0.1, (4, 10)).astype(np.float32)),
    ]
    shape = numpy_helper.from_array(np.array([-1, 16]), "")
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Reshape", ["images", "shape"], ["flat"]),
        helper.make_node("QuantizeLinear", ["flat", "in_scale", "in_zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "in_scale_again", "in_zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"]),
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "w" if shared else "wt"], ["second"]),
        helper.make_node("DequantizeLinear", ["blocks", "blocks_scale"], ["b"], axis=0, block_size=4),
        helper.make_node("MatMul", ["second", "b"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("shared", [True, False])
def test_a_graph_of_another_exporter(shared: bool, tmp_path: Path):
    model = foreign(shared=shared)
    images = np.random.default_rng(1).random((8, 1, 4, 4), np.float32)
    twin = TrainableTwin(model)
    assert [weight.name for weight in twin.masters.weights] == ["weight", "bias", "blocks"]
    np.testing.assert_allclose(twin(torch.from_numpy(images)).detach(), answers(model, images, tmp_path), rtol=1e-5)
    disturb(twin)
    written = write_back(model, twin)
    after = twin(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(answers(written, images, tmp_path), after, rtol=1e-5, atol=1e-6 * np.abs(after).max())
    values = {name: numpy_helper.to_array(tensor) for name, tensor in constants(written).items()}
    assert values["in_scale"] == values["in_scale_again"] != np.float32(1 / 255)


def test_a_float_file_is_not_quantized(float_onnx: Path):
    with pytest.raises(UsageError, match=r"student\.onnx: holds no QuantizeLinear .*quantize it first"):
        TrainableTwin(onnx.load(float_onnx), where="student.onnx")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("images_scale", np.float32("nan"), "the scale 'images_scale' is not a positive number"),
        ("images_scale", np.float32("inf"), "the scale 'images_scale' is not a positive number"),
        ("images_scale", np.float32(0), "the scale 'images_scale' is not a positive number"),
    ],
)
def test_a_scale_that_is_no_number(int8_onnx: Path, name: str, value: np.float32, message: str):
    model = onnx.load(int8_onnx)
    constants(model)[name].CopyFrom(numpy_helper.from_array(np.array(value), name))
    with pytest.raises(UsageError, match=message):
        TrainableTwin(model)
