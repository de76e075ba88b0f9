"""Every rule finds its planted defect, names the node, and finds nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgeproof.stages.lint import RULES, lint
from edgeproof.stages.lint.rules.files import leaves_folder
from edgeproof.targets.schemes import SCHEMES
from onnx import TensorProto, helper

from tests.stages.lint.defects import CHANNELS, CLASSES, DEFECTS, Plant, blocks, unfolded
from tests.stages.lint.graphs import change, insert_before, network, node, pair_before, set_attribute, store, tensor

ERRORS = {
    "block-size",
    "external-data",
    "not-a-number",
    "quantizer-opset",
    "refused-operator",
    "scale-count",
    "scale-value",
    "undefined-tensor",
    "unknown-operator",
    "unreadable-constant",
}


@pytest.mark.parametrize("target", SCHEMES)
def test_nothing_to_find_in_a_clean_network(target: str):
    assert lint(network(SCHEMES[target]), SCHEMES[target]) == []


def test_every_rule_has_a_defect():
    assert {name for name, *_ in DEFECTS} == {rule.name for rule in RULES}


@pytest.mark.parametrize(("rule", "target", "plant", "where"), DEFECTS, ids=[f"{d[0]}-{d[1]}" for d in DEFECTS])
def test_a_planted_defect_is_found_where_it_was_planted(rule: str, target: str, plant: Plant, where: str):
    scheme = SCHEMES[target]
    model = network(scheme)
    plant(model)
    before = model.SerializeToString()
    found = [finding for finding in lint(model, scheme) if finding.rule == rule]
    assert " ".join(finding.node for finding in found) == where, lint(model, scheme)
    assert found[0].severity == ("error" if rule in ERRORS or rule in scheme.refuses else "warning")
    assert len(found[0].message) > 20
    assert model.SerializeToString() == before, "the model must not be changed"


def test_errors_come_first():
    scheme = SCHEMES["tensorrt"]
    model = network(scheme)
    set_attribute(model, "fc_weight_Q", "axis", 1)
    change(model, "images_zero", 0, first=9)
    set_attribute(model, "conv_weight_DQ", "axis", 1)
    severities = [finding.severity for finding in lint(model, scheme)]
    assert severities == sorted(severities)
    assert set(severities) == {"error", "warning"}


@pytest.mark.parametrize(("target", "severity"), [("onnxruntime", "error"), ("openvino", "warning"), ("arm", "error")])
def test_a_severity_is_the_targets(target: str, severity: str):
    model = network(SCHEMES[target])
    set_attribute(model, "conv_weight_DQ", "axis", 1)
    assert [(f.rule, f.severity) for f in lint(model, SCHEMES[target])] == [("weight-axis", severity)]


def test_schemes_name_rules_that_there_are():
    known = {rule.name for rule in RULES}
    for scheme in SCHEMES.values():
        assert {*scheme.refuses, *scheme.accepts} <= known


@pytest.mark.parametrize(
    ("location", "outside"),
    [
        ("weights.bin", False),
        ("sub/weights.bin", False),
        ("sub/../weights.bin", False),
        ("./weights.bin", False),
        ("...bin", False),
        ("", True),
        (".", True),
        ("sub/..", True),
        ("../weights.bin", True),
        ("sub/../../weights.bin", True),
        ("sub\\..\\..\\weights.bin", True),
        ("/etc/passwd", True),
        ("C:\\weights.bin", True),
        ("\\\\host\\share", True),
    ],
)
def test_where_external_data_may_lie(location: str, outside: bool):
    assert leaves_folder(location) is outside


@pytest.mark.parametrize(
    ("kind", "attributes", "shape", "axis"),
    [
        ("Gemm", {"transB": 1}, (5, 7), 0),
        ("Gemm", {"transB": 0}, (7, 5), 1),
        ("MatMul", {}, (7, 5), 1),
        ("MatMul", {}, (2, 7, 5), 2),
        ("Conv", {}, (5, 7, 1, 1), 0),
        ("ConvTranspose", {}, (7, 5, 1, 1), 1),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_output_channels_of_every_operator(
    kind: str, attributes: dict[str, int], shape: tuple[int, ...], axis: int, transposed: bool
):
    """Scales along any other axis are found, also where the weight is transposed after its DequantizeLinear."""
    order = list(range(len(shape)))[::-1]
    for tried in range(len(shape)):
        stored = tuple(shape[place] for place in order) if transposed else shape
        seen = order.index(tried) if transposed else tried
        tensors = [
            onnx.numpy_helper.from_array(np.ones(stored, np.int8), "w"),
            onnx.numpy_helper.from_array(np.ones(stored[seen], np.float32), "scale"),
        ]
        nodes = [helper.make_node("DequantizeLinear", ["w", "scale"], ["weight"], name="w_DQ", axis=seen)]
        if transposed:
            nodes.append(helper.make_node("Transpose", ["weight"], ["turned"], perm=order))
        operands = ["x", "turned" if transposed else "weight"]
        nodes.append(helper.make_node(kind, operands, ["y"], **attributes))
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
        graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        found = [f.node for f in lint(model, SCHEMES["openvino"]) if f.rule == "weight-axis"]
        assert found == ([] if tried == axis or stored[seen] == 1 else ["w_DQ"]), (kind, tried)


def test_a_constant_may_come_from_a_node_and_through_identities():
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    value = onnx.numpy_helper.from_array(np.array(-1, np.float32))
    made = helper.make_node("Constant", [], ["constant"], value=value)
    same = helper.make_node("Identity", ["constant"], ["identical"])
    model.graph.node.insert(0, made)
    model.graph.node.insert(1, same)
    for name in ("images_Q", "images_DQ"):
        node(model, name).input[1] = "identical"
    assert "scale-value" in {finding.rule for finding in lint(model, scheme)}
    assert "dynamic-parameter" not in {finding.rule for finding in lint(model, scheme)}


def test_operators_that_only_move_values_may_stand_inside_a_pair():
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    insert_before(model, "images_DQ", "Transpose", perm=[0, 1, 3, 2])
    assert lint(model, scheme) == []


def test_nan_inside_a_branch_is_found():
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    inner = helper.make_node("Constant", [], ["inner"], name="inner", value_float=1.0)
    del inner.attribute[:]
    inner.attribute.append(helper.make_attribute("value", onnx.numpy_helper.from_array(np.array(np.nan, np.float32))))
    output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [])
    branch = helper.make_graph([inner], "branch", [], [output])
    store(model, "yes", np.array(True))
    model.graph.node.append(helper.make_node("If", ["yes"], ["either"], then_branch=branch, else_branch=branch))
    assert {(f.rule, f.node) for f in lint(model, scheme)} == {("not-a-number", "inner")}


def test_a_quantizer_that_only_a_branch_reads_is_read():
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    parameters = ["relu_scale", "relu_zero"]
    outer = helper.make_node("QuantizeLinear", ["fc_out", *parameters], ["outer"], name="outer_Q")
    inner = helper.make_node("DequantizeLinear", ["outer", *parameters], ["inner"])
    output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    branch = helper.make_graph([inner], "branch", [], [output])
    store(model, "yes", np.array(True))
    either = helper.make_node("If", ["yes"], ["either"], name="if", then_branch=branch, else_branch=branch)
    model.graph.node.append(outer)
    assert ("outer_Q", "quantizes what nobody reads; remove it") in {(f.node, f.message) for f in lint(model, scheme)}
    model.graph.node.append(either)
    assert "nobody" not in " ".join(finding.message for finding in lint(model, scheme))


def test_local_functions_are_looked_into():
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    body = [helper.make_node("Relu", ["x"], ["y"], name="inner")]
    opsets = [helper.make_opsetid("", 21)]
    model.functions.append(helper.make_function("mine", "Activation", ["x"], ["y"], body, opsets))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    relu = node(model, "relu")
    relu.op_type, relu.domain = "Activation", "mine"
    assert lint(model, scheme) == []
    body[0].op_type = "NoSuchRelu"
    model.functions[0].node[0].op_type = "NoSuchRelu"
    assert "unknown-operator" in {finding.rule for finding in lint(model, scheme)}


def test_a_clip_is_redundant_where_the_quantizer_clips_as_much():
    """Relu6 before a quantizer of [0, 6] needs no kernel of its own; before one of [0, 25.5] it does."""
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    relu = node(model, "relu")
    relu.op_type = "Clip"
    relu.input.extend([store(model, "low", np.float32(0)), store(model, "high", np.float32(6))])
    assert [finding.rule for finding in lint(model, scheme)] == ["unfused-activation"]
    change(model, "relu_scale", 0, first=6 / 255)
    change(model, "fc_bias_scale", 6 / 255 / 0.1)
    assert lint(model, scheme) == []


@pytest.mark.parametrize(("constant", "rules"), [(1.0, []), (-1.0, ["swallowed-activation"])])
def test_a_sum_that_cannot_be_negative_has_lost_no_relu(constant: float, rules: list[str]):
    """As 1 + erf(x) in an exported GELU: its quantizer starts at 0, and cuts off nothing."""
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    store(model, "constant", np.float32(constant))
    store(model, "sum_scale", np.float32(0.2))
    insert_before(model, "flatten", "Add", "constant", called="sum")
    for kind, called in (("QuantizeLinear", "sum_Q"), ("DequantizeLinear", "sum_DQ")):
        insert_before(model, "flatten", kind, "sum_scale", "relu_zero", called=called)
    change(model, "fc_bias_scale", 2)
    assert [finding.rule for finding in lint(model, scheme)] == rules


def test_logits_without_a_negative_one_have_lost_no_relu():
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    change(model, "logits_zero", 0)
    assert lint(model, scheme) == []


def test_a_quantized_output_needs_no_dequantizer():
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    model.graph.node.remove(node(model, "logits_DQ"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits_Q_out", TensorProto.UINT8, ["n", 3]))
    assert lint(model, scheme) == []


def test_batch_normalization_behind_a_pair_is_not_folded_either():
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    unfolded(model)
    pair_before(model, "bn", like="images", called="conv")
    assert ("batch-normalization", "bn") in {(finding.rule, finding.node) for finding in lint(model, scheme)}


def test_biases_of_another_type_are_no_matter_to_openvino():
    model = network(SCHEMES["onnxruntime"])
    assert tensor(model, "conv_bias").dtype == np.int32
    assert lint(model, SCHEMES["openvino"]) == []


def test_negative_scales_of_a_stored_weights_blocks_are_right():
    scheme = SCHEMES["onnxruntime"]
    model = network(scheme)
    blocks((CLASSES, CHANNELS * 9), sign=-1)(model)
    assert not {"scale-value", "block-size"} & {finding.rule for finding in lint(model, scheme)}
