"""Output adapters, against what the model answers in its own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import ModelError, UsageError
from edgeproof.stages.adapt import AdapterConfig, adapt
from onnx import TensorProto, helper

from tests.stages.adapt.foreign import CLASSES, SHAPE, answers, classifier, some_images

NCHW = ("N", *SHAPE)


def value(name: str, *dimensions: int | str, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, list(dimensions))


SCORES = value("scores", "N", CLASSES)
SOFTMAX = helper.make_node("Softmax", ["scores"], ["shares"], axis=1)
ARGMAX = helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0)
LABEL = value("label", "N", dtype=TensorProto.INT64)


def adapted(path: Path, classes: int = CLASSES, **settings: Any) -> np.ndarray:
    found = adapt(path, AdapterConfig(**settings), SHAPE, classes, some_images())
    assert found is not None
    onnx.checker.check_model(found.model)
    (logits,) = answers(found.model, some_images())
    return logits


def own(path: Path, place: int = 0) -> np.ndarray:
    return answers(path, some_images())[place]


def test_one_of_several_outputs(tmp_path: Path):
    path = classifier(
        tmp_path / "m.onnx", NCHW, behind=[SOFTMAX, ARGMAX], outputs=[SCORES, value("shares", "N", CLASSES), LABEL]
    )
    with pytest.raises(UsageError, match=r"--output-name: scores \[N, 6\], shares \[N, 6\], label \[N\]"):
        adapted(path)
    np.testing.assert_array_equal(adapted(path, output_name="scores"), own(path, 0))
    np.testing.assert_array_equal(adapted(path, output_name="shares"), own(path, 1))
    with pytest.raises(UsageError, match=r"has no output 'logits' \(it has: scores, shares, label\)"):
        adapted(path, output_name="logits")


def test_the_one_output_with_as_many_numbers_as_classes_is_found(tmp_path: Path):
    twice = helper.make_node("Concat", ["scores", "scores"], ["twice"], axis=1)
    outputs = [value("twice", "N", 2 * CLASSES), SCORES]
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[twice], outputs=outputs)
    np.testing.assert_array_equal(adapted(path), own(path, 1))


def test_shares_beside_labels_are_found(tmp_path: Path):
    path = classifier(
        tmp_path / "m.onnx", NCHW, behind=[SOFTMAX, ARGMAX], outputs=[LABEL, value("shares", "N", CLASSES)]
    )
    np.testing.assert_array_equal(adapted(path), own(path, 1))


def test_labels_alone_are_rows_of_one(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[ARGMAX], outputs=[LABEL])
    logits = adapted(path)
    np.testing.assert_array_equal(logits.argmax(1), own(path))
    assert (logits.sum(1) == 1).all()


@pytest.mark.parametrize("shift", [-4, 2, CLASSES])
def test_labels_that_are_no_class_of_ours_are_wrong_whatever_is_right(tmp_path: Path, shift: int):
    """A rejected image, say; one class of the data set must not get them."""
    moved = [
        helper.make_node("Constant", [], ["shift"], value_int=shift),
        helper.make_node("Add", ["label", "shift"], ["moved"]),
    ]
    outputs = [value("moved", "N", dtype=TensorProto.INT64)]
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[ARGMAX, *moved], outputs=outputs)
    labels = own(path)
    ours = (labels >= 0) & (labels < CLASSES)
    found = adapted(path).argmax(1)
    np.testing.assert_array_equal(found[ours], labels[ours])
    assert (found[~ours] >= CLASSES).all()
    assert not ours.all()


@pytest.mark.parametrize("keepdims", [0, 1])
def test_labels_as_floats(tmp_path: Path, keepdims: int):
    best = helper.make_node("ArgMax", ["scores"], ["whole"], axis=1, keepdims=keepdims)
    floats = helper.make_node("Cast", ["whole"], ["label"], to=TensorProto.FLOAT)
    outputs = [value("label", *("N", 1)[: 1 + keepdims])]
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[best, floats], outputs=outputs)
    np.testing.assert_array_equal(adapted(path).argmax(1), own(path).reshape(-1))


def test_one_number_that_is_no_label(tmp_path: Path):
    most = helper.make_node("ReduceMax", ["scores"], ["most"], keepdims=1, axes=[1])
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[most], outputs=[value("most", "N", 1)])
    with pytest.raises(ModelError, match=r"m\.onnx: output 'most' is one number an image; of 6 classes"):
        adapted(path)


def test_a_row_a_class_is_turned(tmp_path: Path):
    turned = helper.make_node("Transpose", ["scores"], ["columns"], perm=[1, 0])
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[turned], outputs=[value("columns", CLASSES, "N")])
    np.testing.assert_array_equal(adapted(path), own(path).T)


@pytest.mark.parametrize("most", [3, CLASSES])
def test_the_best_classes_by_rank_are_no_logits(tmp_path: Path, most: int):
    behind = [
        helper.make_node("Constant", [], ["most"], value_ints=[most]),
        helper.make_node("TopK", ["scores", "most"], ["best", "places"], axis=1),
    ]
    best, places = value("best", "N", most), value("places", "N", most, dtype=TensorProto.INT64)
    path = classifier(tmp_path / "m.onnx", NCHW, behind=behind, outputs=[best, places])
    for settings in ({}, {"output_name": "best"}):
        with pytest.raises(
            ModelError, match=r"best classes by rank, which 'places' names \(top-k\); export the logits"
        ):
            adapted(path, **settings)
    path = classifier(tmp_path / "m.onnx", NCHW, behind=behind, outputs=[places])
    with pytest.raises(ModelError, match=r"the whole numbers of 'places' may be the best classes \(top-k\): export"):
        adapted(path)
    # Beside the scores themselves they are no answer.
    path = classifier(tmp_path / "m.onnx", NCHW, behind=behind, outputs=[SCORES, places])
    np.testing.assert_array_equal(adapted(path), own(path))


def test_a_class_that_is_masked(tmp_path: Path):
    mask = helper.make_tensor("mask", TensorProto.FLOAT, [CLASSES], [0, 0, float("-inf"), 0, 0, 0])
    behind = [
        helper.make_node("Constant", [], ["mask"], value=mask),
        helper.make_node("Add", ["scores", "mask"], ["masked"]),
    ]
    path = classifier(tmp_path / "m.onnx", NCHW, behind=behind, outputs=[value("masked", "N", CLASSES)])
    expected = own(path)
    assert np.isneginf(expected[:, 2]).all()
    found = adapted(path, masked_classes=True)
    np.testing.assert_array_equal(np.delete(found[:, :CLASSES], 2, 1), np.delete(expected, 2, 1))
    assert (found[:, 2] == -10000).all()
    np.testing.assert_array_equal(found[:, :CLASSES].argmax(1), found.argmax(1))


def test_where_all_logits_are_as_low_as_masked_ones_no_class_is_right(tmp_path: Path):
    """Clipped they would be equal, and the first class the answer."""
    low = [
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Constant", [], ["much"], value_float=1e5),
        helper.make_node("ReduceMax", ["images"], ["largest"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Flatten", ["largest"], ["row"]),
        helper.make_node("Greater", ["row", "one"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["as_float", "much"], ["drop"]),
        helper.make_node("Sub", ["scores", "drop"], ["low"]),
    ]
    path = classifier(tmp_path / "m.onnx", NCHW, behind=low, outputs=[value("low", "N", CLASSES)])
    found = adapt(path, AdapterConfig(masked_classes=True), SHAPE, CLASSES, some_images())
    assert found is not None
    (bright,) = answers(found.model, some_images() + 1)
    assert (bright.argmax(1) == CLASSES).all()
    (dark,) = answers(found.model, some_images())
    np.testing.assert_array_equal(dark.argmax(1), own(path).argmax(1))
    with pytest.raises(
        ModelError, match=r"m\.onnx: the largest of an image's logits is -[\d.e+]+, where -10000 stands"
    ):
        adapt(path, AdapterConfig(masked_classes=True), SHAPE, CLASSES, some_images() + 1)


@pytest.mark.parametrize("kind", ["sequence", "optional"])
def test_what_is_no_tensor_answers_nothing(tmp_path: Path, kind: str):
    maker = {"sequence": "SequenceConstruct", "optional": "Optional"}[kind]
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", CLASSES])
    made = helper.make_sequence_type_proto(tensor) if kind == "sequence" else helper.make_optional_type_proto(tensor)
    behind = [helper.make_node(maker, ["scores"], ["wrapped"])]
    path = classifier(tmp_path / "m.onnx", NCHW, behind=behind, outputs=[helper.make_value_info("wrapped", made)])
    with pytest.raises(ModelError, match=r"m\.onnx: none of its outputs .* \(wrapped \(no tensor\)\)$"):
        adapted(path)
    path = classifier(
        tmp_path / "m.onnx", NCHW, behind=behind, outputs=[SCORES, helper.make_value_info("wrapped", made)]
    )
    np.testing.assert_array_equal(adapted(path), own(classifier(tmp_path / "plain.onnx", NCHW)))


def test_axes_of_one_number_go(tmp_path: Path):
    behind = helper.make_node("Unsqueeze", ["scores", "axes"], ["map"])
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[2, 3])
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[axes, behind], outputs=[value("map", "N", CLASSES, 1, 1)])
    np.testing.assert_array_equal(adapted(path), own(path)[:, :, 0, 0])


@pytest.mark.parametrize("ends", ["scores", "label"])
def test_an_answer_without_the_axis_of_a_batch_of_one(tmp_path: Path, ends: str):
    """A `squeeze()` at the end of a network, exported for one image."""
    squeezed = helper.make_node("Squeeze", [ends], ["squeezed"])
    kind = TensorProto.FLOAT if ends == "scores" else TensorProto.INT64
    outputs = [value("squeezed", *([CLASSES] if ends == "scores" else []), dtype=kind)]
    behind = [squeezed] if ends == "scores" else [ARGMAX, squeezed]
    path = classifier(tmp_path / "m.onnx", (1, *SHAPE), behind=behind, outputs=outputs)
    found = adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())
    assert found is not None
    (expected,) = answers(classifier(tmp_path / "plain.onnx", NCHW), some_images())
    (logits,) = answers(found.model, some_images(), each=1)
    np.testing.assert_array_equal(logits.argmax(1), expected.argmax(1))
    if ends == "scores":
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_scores_of_eight_bits(tmp_path: Path):
    rounded = helper.make_node("QuantizeLinear", ["shares", "step"], ["steps"])
    step = helper.make_node("Constant", [], ["step"], value_float=1 / 255)
    outputs = [value("steps", "N", CLASSES, dtype=TensorProto.UINT8)]
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[SOFTMAX, step, rounded], outputs=outputs)
    np.testing.assert_array_equal(adapted(path), own(path).astype(np.float32))


@pytest.mark.parametrize("lacking", ["input", "output", "types"])
def test_what_the_file_says_no_shape_of(tmp_path: Path, lacking: str):
    path = classifier(tmp_path / "m.onnx", NCHW)
    expected = own(path)
    model = onnx.load(path)
    if lacking == "input":
        model.graph.input[0].type.tensor_type.ClearField("shape")
    elif lacking == "output":
        model.graph.output[0].type.tensor_type.ClearField("shape")
    else:  # as who looks into a network asks for one value more
        model.graph.output.insert(0, onnx.ValueInfoProto(name="flat"))
    onnx.save(model, path)
    np.testing.assert_array_equal(adapted(path), expected)


def test_an_unknown_number_of_classes_is_counted(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW, outputs=[value("scores", "N", "K")])
    found = adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())
    assert found is not None
    assert found.model.graph.output[0].type.tensor_type.shape.dim[1].dim_value == CLASSES


@pytest.mark.parametrize("squash", [False, True])
def test_one_number_for_two_classes(tmp_path: Path, squash: bool):
    behind = [helper.make_node("Sigmoid", ["scores"], ["answer"])] if squash else []
    name = "answer" if squash else "scores"
    path = classifier(tmp_path / "m.onnx", NCHW, classes=1, behind=behind, outputs=[value(name, "N", 1)])
    second = own(path)[:, 0] > (0.5 if squash else 0)
    assert squash or 0 < second.sum() < len(second)
    np.testing.assert_array_equal(adapted(path, 2).argmax(1), second)


def test_a_logit_that_happens_to_lie_between_0_and_1_is_one(tmp_path: Path):
    small = helper.make_node("Mul", ["scores", "tiny"], ["small"])
    tiny = helper.make_node("Constant", [], ["tiny"], value_float=1e-6)
    path = classifier(tmp_path / "m.onnx", NCHW, classes=1, behind=[tiny, small], outputs=[value("small", "N", 1)])
    np.testing.assert_array_equal(adapted(path, 2).argmax(1), own(path)[:, 0] > 0)


def test_a_surrogate_beside_a_model_of_more_classes(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW)
    found = adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images(), columns=CLASSES + 2)
    assert found is not None
    (logits,) = answers(found.model, some_images())
    np.testing.assert_array_equal(logits[:, :CLASSES], own(path))
    assert (logits[:, CLASSES:] < -1000).all()


def test_a_surrogate_beside_a_model_of_fewer_classes(tmp_path: Path):
    """A background class of its own, say, which the model does not know."""
    path = classifier(tmp_path / "m.onnx", NCHW)
    config = AdapterConfig(classes_offset=1)
    found = adapt(path, config, SHAPE, CLASSES - 1, some_images(), columns=CLASSES - 1)
    assert found is not None
    (logits,) = answers(found.model, some_images())
    np.testing.assert_array_equal(logits, own(path)[:, 1:])


def test_a_file_of_an_old_version_that_was_adapted_before(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW)
    once = adapt(path, AdapterConfig(normalize="half", classes_offset=1), SHAPE, CLASSES - 1, some_images())
    assert once is not None
    once.model.ir_version = 3
    once.model.graph.input.extend(
        helper.make_tensor_value_info(each.name, each.data_type, list(each.dims))
        for each in once.model.graph.initializer
    )
    onnx.save(once.model, tmp_path / "once.onnx")
    expected = answers(once.model, some_images())[0]
    twice = adapted(tmp_path / "once.onnx", CLASSES, scale=1, mean=(0.25,), label_map=None, classes_offset=0)
    shifted = answers(tmp_path / "once.onnx", some_images() - np.float32(0.25))[0]
    np.testing.assert_allclose(twice, shifted, rtol=1e-5, atol=1e-5)
    assert expected.shape == twice.shape


def test_classes_behind_a_background(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW)
    # The background stays, behind: who is taken for it is wrong.
    np.testing.assert_array_equal(adapted(path, CLASSES - 1, classes_offset=1), own(path)[:, [1, 2, 3, 4, 5, 0]])
    with pytest.raises(UsageError, match="--classes-offset: reaches beyond the 6 classes"):
        adapted(path, CLASSES, classes_offset=1)


def test_classes_in_another_order(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW)
    (tmp_path / "map.txt").write_text("4\n0\n3\n")
    np.testing.assert_array_equal(adapted(path, 3, label_map=tmp_path / "map.txt"), own(path)[:, [4, 0, 3, 1, 2, 5]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0\n1\n", "needs 3 different numbers"),
        ("0\n1\n1\n", "needs 3 different numbers"),
        ("cat\ndog\nbird\n", "a whole number a line"),
        ("0\n1\n6\n", "reaches beyond the 6 classes"),
        (None, "No such file"),
    ],
)
def test_a_label_map_that_is_none(tmp_path: Path, text: str | None, words: str):
    path = classifier(tmp_path / "m.onnx", NCHW)
    if text is not None:
        (tmp_path / "map.txt").write_text(text)
    with pytest.raises(UsageError, match=f"--label-map.*{words}"):
        adapted(path, 3, label_map=tmp_path / "map.txt")


def test_nodes_out_of_order_are_sorted(tmp_path: Path):
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[SOFTMAX], outputs=[value("shares", "N", CLASSES)])
    expected = own(path)
    model = onnx.load(path)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    np.testing.assert_array_equal(adapted(path), expected)


def test_numbers_behind_a_dictionary_of_them(tmp_path: Path):
    dictionaries = helper.make_node(
        "ZipMap", ["shares"], ["by_class"], domain="ai.onnx.ml", classlabels_int64s=[*range(CLASSES)]
    )
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, SCORES.type))
    outputs = [LABEL, helper.make_value_info("by_class", kind)]
    path = classifier(tmp_path / "m.onnx", NCHW, behind=[SOFTMAX, ARGMAX, dictionaries], outputs=outputs)
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    onnx.save(model, path)
    rows = [[row[key] for key in range(CLASSES)] for row in own(path, 1)]
    np.testing.assert_array_equal(adapted(path), rows)


@pytest.mark.parametrize("said", [[], [helper.make_opsetid("", 2)]])
def test_a_model_without_any_of_onnx_own_operators(tmp_path: Path, said: list[onnx.OperatorSetIdProto]):
    size = int(np.prod(SHAPE))
    coefficients = np.random.default_rng(0).normal(size=size * CLASSES)
    node = helper.make_node(
        "LinearClassifier", ["rows"], ["label", "scores"], domain="ai.onnx.ml", classlabels_ints=[*range(CLASSES)],
        coefficients=coefficients.tolist(), intercepts=[0.0] * CLASSES,
    )  # fmt: skip
    graph = helper.make_graph([node], "trees", [value("rows", "N", size)], [LABEL, SCORES])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 1), *said], ir_version=3)
    onnx.save(model, tmp_path / "m.onnx")
    scores = some_images().reshape(-1, size) @ coefficients.reshape(CLASSES, size).T.astype(np.float32)
    np.testing.assert_allclose(adapted(tmp_path / "m.onnx"), scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(adapted(tmp_path / "m.onnx", output_name="label").argmax(1), scores.argmax(1))
