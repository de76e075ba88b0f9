"""The twin as a module: what it refuses, what it folds, and how it treats batches, names and files."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import ModelError
from edgeproof.stages.twin import Twin, UnsupportedOperator, load_twin, supported_operators
from onnx import TensorProto, helper, numpy_helper

from tests.stages.twin.graphs import model, run_onnxruntime


def small_net(opset: int = 18) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], name="fc", transB=1),
    ]
    values = {
        "conv.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "conv.bias": rng.normal(size=4).astype(np.float32),
        "fc.weight": rng.normal(size=(5, 4)).astype(np.float32),
        "fc.bias": rng.normal(size=5).astype(np.float32),
    }
    return model(nodes, inputs={"x": ["batch", 3, 8, 8]}, initializers=values, opset=opset)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(1).random((count, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_any_batch_size(count: int) -> None:
    x = torch.from_numpy(images(count)).requires_grad_()
    y = Twin(small_net())(x)
    assert isinstance(y, torch.Tensor)
    assert y.shape == (count, 5)
    if count:
        np.testing.assert_allclose(y.detach().numpy(), run_onnxruntime(small_net(), images(count))[0], atol=1e-5)
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_reshape_that_works_out_its_width_takes_any_batch(count: int) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=0, end=1),
        helper.make_node("Concat", ["s", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1),
    ]
    proto = model(nodes, inputs={"x": ["n", 3, 4]}, initializers={"rest": np.array([-1], np.int64)}, opset=18)
    found = Twin(proto)(torch.zeros(count, 3, 4))
    assert isinstance(found, torch.Tensor)
    assert found.shape == (count, 12)


def test_the_same_call_twice_yields_the_same_bits() -> None:
    twin = Twin(small_net())
    x = torch.from_numpy(images(4))
    assert torch.equal(twin(x), twin(x))  # type: ignore[arg-type]


def test_an_unknown_operator_is_refused_by_name() -> None:
    proto = model([helper.make_node("Frobnicate", ["x"], ["y"], name="layer7")], inputs={"x": [1]}, opset=18)
    with pytest.raises(UnsupportedOperator) as caught:
        Twin(proto)
    message = str(caught.value)
    assert all(part in message for part in ("layer7", "Frobnicate", "opset 18", "supported_operators"))
    assert "\n" not in message
    assert isinstance(caught.value, ModelError)


def test_a_node_without_a_name_is_named_by_its_output() -> None:
    proto = model([helper.make_node("Frobnicate", ["x"], ["logits"])], inputs={"x": [1]}, outputs=["logits"])
    with pytest.raises(UnsupportedOperator, match="'logits'"):
        Twin(proto)


def test_another_domain_is_another_operator() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], domain="com.acme")
    proto = model([node], inputs={"x": [1]}, domains={"com.acme": 3})
    with pytest.raises(UnsupportedOperator, match=r"com\.acme opset 3"):
        Twin(proto)


def test_an_unknown_attribute_is_refused() -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"], ceiling=6.0)], inputs={"x": [1]})
    with pytest.raises(UnsupportedOperator, match="'ceiling'"):
        Twin(proto)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (helper.make_node("BatchNormalization", ["x", "p", "p", "p", "p"], ["y", "m"]), "training outputs"),
        (helper.make_node("Pad", ["x", "pads"], ["y"], mode="mirror"), "mode='mirror'"),
        (helper.make_node("Conv", ["x", "w5"], ["y"]), "4 spatial axes"),
        (helper.make_node("LeakyRelu", ["x"], ["y"], alpha=1), "'alpha' has the wrong type"),
    ],
)
def test_what_an_operator_does_not_implement_is_refused(node: onnx.NodeProto, reason: str) -> None:
    values = {
        "p": np.ones(3, np.float32),
        "pads": np.zeros(4, np.int64),
        "w5": np.ones((1, 1, 1, 1, 1, 1), np.float32),
    }
    with pytest.raises(UnsupportedOperator, match=reason):
        Twin(model([node], inputs={"x": [1, 3]}, initializers=values))


@pytest.mark.parametrize("offset", [-1, 1])
def test_an_opset_outside_the_claim_is_refused(offset: int) -> None:
    since, until = supported_operators()["Upsample"]
    opset = since - 1 if offset < 0 else until + 1
    proto = model([helper.make_node("Upsample", ["x"], ["y"], mode="nearest")], inputs={"x": [1]}, opset=opset)
    with pytest.raises(UnsupportedOperator, match=f"opsets {since} to {until}"):
        Twin(proto)


def test_a_newer_opset_than_any_claimed_is_refused() -> None:
    until = supported_operators()["Relu"][1]
    proto = model([helper.make_node("Relu", ["x"], ["y"])], inputs={"x": [1]}, opset=until + 1)
    with pytest.raises(UnsupportedOperator, match=f"opset {until + 1}"):
        Twin(proto)


def test_a_name_that_nothing_defines_is_a_model_error() -> None:
    proto = model([helper.make_node("Add", ["x", "ghost"], ["y"])], inputs={"x": [1]})
    with pytest.raises(ModelError, match="'ghost'"):
        Twin(proto)


def test_shapes_that_do_not_fit_are_a_model_error_that_names_the_node() -> None:
    with pytest.raises(ModelError, match=r"'conv' \(Conv\)"):
        Twin(small_net())(torch.zeros(1, 5, 8, 8))


def test_the_wrong_number_of_inputs_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="1 inputs"):
        Twin(small_net())(torch.zeros(1, 3, 8, 8), torch.zeros(1))


def test_string_inputs_are_refused() -> None:
    proto = model([helper.make_node("Identity", ["x"], ["y"])], inputs={"x": [1]}, input_type=TensorProto.STRING)
    with pytest.raises(ModelError, match="string"):
        Twin(proto)


def test_float_initialisers_stand_under_their_names() -> None:
    twin = Twin(small_net())
    stored = {i.name: numpy_helper.to_array(i) for i in small_net().graph.initializer}
    assert set(twin.initializers) == set(stored)
    for name, value in stored.items():
        np.testing.assert_array_equal(twin.initializers[name].numpy(), value)
    x = torch.from_numpy(images(2))
    before = twin(x)
    twin.initializers["fc.bias"].add_(1.0)  # the very tensor that the graph reads
    torch.testing.assert_close(twin(x), before + 1.0)  # type: ignore[operator]


def test_an_initialiser_listed_as_an_input_is_no_input() -> None:
    proto = small_net(opset=8)
    proto.graph.input.append(helper.make_tensor_value_info("conv.weight", TensorProto.FLOAT, [4, 3, 3, 3]))
    twin = Twin(proto)
    assert twin.input_names == ["x"]
    assert twin.output_names == ["y"]
    np.testing.assert_allclose(
        twin(torch.from_numpy(images(2))).numpy(),  # type: ignore[union-attr]
        run_onnxruntime(small_net(), images(2))[0],
        atol=1e-5,
    )


def test_an_initialiser_may_be_the_output() -> None:
    proto = model([], inputs={"x": [1]}, outputs=["c"], initializers={"c": np.float32([1, 2])})
    assert Twin(proto)(torch.zeros(1)).tolist() == [1, 2]  # type: ignore[union-attr]


def test_several_outputs_come_as_a_tuple_in_the_graphs_order() -> None:
    nodes = [helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2)]
    twin = Twin(model(nodes, inputs={"x": ["n", 4]}, outputs=["b", "a"]))
    second, first = twin(torch.arange(4.0)[None])
    assert first.tolist() == [[0, 1]]
    assert second.tolist() == [[2, 3]]
    assert twin.output_names == ["b", "a"]


def test_nan_comes_through() -> None:
    x = torch.from_numpy(images(2))
    x[1, 0, 0, 0] = torch.nan
    y = Twin(small_net())(x)
    assert isinstance(y, torch.Tensor)
    assert not y[0].isnan().any()
    assert y[1].isnan().all()


@pytest.mark.parametrize("op_type", ["Max", "Min", "Clip", "Relu"])
def test_no_operator_hides_nan(op_type: str) -> None:
    names = ["x", "one"] if op_type != "Relu" else ["x"]
    proto = model([helper.make_node(op_type, names, ["y"])], inputs={"x": ["n"]}, initializers={"one": np.float32(1)})
    assert Twin(proto)(torch.tensor([torch.nan])).isnan().all()  # type: ignore[union-attr]


def test_local_functions_are_inlined() -> None:
    body = [
        helper.make_node("Sigmoid", ["a"], ["s"]),
        helper.make_node("Mul", ["a", "s"], ["b"]),
    ]
    silu = helper.make_function("local", "Silu", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    nodes = [helper.make_node("Silu", ["x"], ["y"], domain="local", name="act")]
    proto = model(nodes, inputs={"x": ["n"]}, functions=[silu], domains={"local": 1})
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(Twin(proto)(x), torch.nn.functional.silu(x))


@pytest.mark.parametrize("size", [1, 2])
def test_a_branch_is_chosen_at_every_call(size: int) -> None:
    """What TorchScript exports for squeeze(1): an If that asks whether the axis has size 1."""
    squeezed = helper.make_graph(
        [helper.make_node("Squeeze", ["x", "axis"], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
    )
    kept = helper.make_graph(
        [helper.make_node("Constant", [], ["k"], value_float=2.0), helper.make_node("Mul", ["x", "k"], ["e"])],
        "else",
        [],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=1, end=2),
        helper.make_node("Equal", ["s", "axis"], ["is_one"]),
        helper.make_node("If", ["is_one"], ["i"], then_branch=squeezed, else_branch=kept),
        helper.make_node("Neg", ["i"], ["y"]),
    ]
    proto = model(nodes, inputs={"x": ["n", "m"]}, initializers={"axis": np.array([1], np.int64)})
    x = torch.arange(3.0 * size).reshape(3, size).requires_grad_()
    y = Twin(proto).double()(x.double())
    expected = -x.squeeze(1) if size == 1 else -2 * x
    assert torch.equal(y, expected.double())  # type: ignore[arg-type]
    (grad,) = torch.autograd.grad(y.sum(), x)  # type: ignore[union-attr]
    assert grad.unique().tolist() == [-1 if size == 1 else -2]


def test_what_depends_on_no_input_is_computed_once() -> None:
    """A quantized weight is dequantized at construction, so a call runs the multiplication alone."""
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["f"]),
        helper.make_node("Transpose", ["f"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    values = {"w": np.array([[1, 2], [3, 4]], np.int8), "s": np.float32(0.5)}
    twin = Twin(model(nodes, inputs={"x": ["n", 2]}, initializers=values))
    x = torch.eye(2)
    with torch.autograd.profiler.profile() as profile:
        y = twin(x)
    assert torch.equal(y, torch.tensor([[0.5, 1.5], [1.0, 2.0]]))  # type: ignore[arg-type]
    called = {event.key for event in profile.key_averages()}
    assert "aten::matmul" in called
    assert not called & {"aten::mul", "aten::sub", "aten::permute", "aten::to"}


def test_double_moves_every_float_constant() -> None:
    twin = Twin(small_net()).double()
    x = torch.from_numpy(images(2)).double()
    y = twin(x)
    assert isinstance(y, torch.Tensor)
    assert y.dtype == torch.float64
    np.testing.assert_allclose(y.numpy(), run_onnxruntime(small_net(), images(2))[0], atol=1e-5)
    leaf = x.clone().requires_grad_()
    torch.autograd.gradcheck(twin, (leaf,), atol=1e-6)


def test_a_copy_has_a_backward_mode_of_its_own() -> None:
    twin = Twin(small_net())
    other = copy.deepcopy(twin)
    other.backward = "identity"
    assert twin.backward == "relu"
    x = torch.from_numpy(images(1))
    assert torch.equal(twin(x), other(x))  # type: ignore[arg-type]


def test_a_twin_is_in_evaluation_mode_and_has_no_parameters() -> None:
    twin = Twin(small_net())
    assert not twin.training
    assert list(twin.parameters()) == []


def test_external_data_is_read_from_the_files_own_folder(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(small_net(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    found = load_twin(path)(torch.from_numpy(images(2)))
    torch.testing.assert_close(found, Twin(small_net())(torch.from_numpy(images(2))))


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save(small_net(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "secret.bin").write_bytes((folder / "weights.bin").read_bytes())
    proto = onnx.load(path, load_external_data=False)
    for initializer in proto.graph.initializer:
        for entry in initializer.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError):
        load_twin(path)


def test_missing_external_data_is_a_model_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(small_net(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError) as caught:
        load_twin(path)
    assert "\n" not in str(caught.value)


def test_external_data_cut_short_is_a_model_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(small_net(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").write_bytes(b"\0" * 10)
    with pytest.raises(ModelError):
        load_twin(path)


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.95])
def test_a_truncated_file_is_one_line(tmp_path: Path, kept: float) -> None:
    data = small_net().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ModelError) as caught:
        load_twin(path)
    assert "\n" not in str(caught.value)
    assert "cut.onnx" in str(caught.value)


def test_a_missing_file_and_a_file_that_is_no_model_are_one_line(tmp_path: Path) -> None:
    text = tmp_path / "readme.onnx"
    text.write_text("not a model " * 50)
    for path in (text, tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(ModelError) as caught:
            load_twin(path)
        assert "\n" not in str(caught.value)


def test_every_claim_is_a_range_of_opsets() -> None:
    claims = supported_operators()
    assert list(claims) == sorted(claims, key=lambda name: name.split("::") if "::" in name else ["", name])
    assert all(1 <= since <= until for since, until in claims.values())
    schemas = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    assert {name for name in claims if "::" not in name} - {"SimplifiedLayerNormalization"} <= schemas


def test_batch_normalization_by_the_images_own_statistics_has_their_gradient():
    """As a network exported in training mode has it; torch's own module is the reference."""
    names = ("scale", "shift", "mean", "variance")
    values = {name: np.array([0.5, 2.0], np.float32) for name in names}
    node = helper.make_node("BatchNormalization", ["x", *names], ["y", "m", "v"], training_mode=1, momentum=0.9)
    twin = Twin(model([node], inputs={"x": ["n", 2, 3, 3]}, initializers=values))
    reference = torch.nn.BatchNorm2d(2).train()
    with torch.no_grad():
        for each in (reference.weight, reference.bias):
            each.copy_(torch.from_numpy(values["scale"]))
    found, expected = (torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    answers = twin(found.requires_grad_()), reference(expected.requires_grad_())
    for each in answers:
        (each * torch.arange(each.numel()).reshape(each.shape)).sum().backward()
    torch.testing.assert_close(*answers)
    torch.testing.assert_close(found.grad, expected.grad)
