"""Input adapters, against arrays that numpy prepared for the model as its users would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import ModelError, UsageError
from edgeproof.stages.adapt import AdapterConfig, adapt
from onnx import TensorProto, helper, numpy_helper

from tests.stages.adapt.foreign import CHANNELS, CLASSES, HEIGHT, PIXELS, SHAPE, WIDTH, answers, classifier, some_images

NCHW, NHWC = ("N", CHANNELS, HEIGHT, WIDTH), ("N", HEIGHT, WIDTH, CHANNELS)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Prepare = Callable[[np.ndarray], np.ndarray]


def channels(values: tuple[float, ...]) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


CASES: dict[str, tuple[tuple[int | str, ...], int, dict[str, Any], Prepare]] = {
    "imagenet": (NCHW, TensorProto.FLOAT, {"normalize": "imagenet"}, lambda x: (x - channels(MEAN)) / channels(STD)),
    "half": (NCHW, TensorProto.FLOAT, {"normalize": "half"}, lambda x: (x - np.float32(0.5)) / np.float32(0.5)),
    "caffe": (
        NCHW,
        TensorProto.FLOAT,
        {"scale": 255, "channels": "BGR", "mean": (103.9, 116.8, 123.7)},
        lambda x: (x * np.float32(255))[:, ::-1] - channels((103.9, 116.8, 123.7)),
    ),
    "imagenet, blue first": (
        NCHW,
        TensorProto.FLOAT,
        {"channels": "BGR", "normalize": "imagenet"},
        lambda x: ((x - channels(MEAN)) / channels(STD))[:, ::-1],
    ),
    "layout": (NHWC, TensorProto.FLOAT, {}, lambda x: x.transpose(0, 2, 3, 1)),
    "bytes": (NHWC, TensorProto.UINT8, {}, lambda x: np.round(x * 255).astype(np.uint8).transpose(0, 2, 3, 1)),
    "half precision": (NCHW, TensorProto.FLOAT16, {}, lambda x: x.astype(np.float16)),
    "signed bytes": (
        NCHW,
        TensorProto.INT8,
        {"input_dtype": "int8"},
        lambda x: (np.round(x * 255) - 128).astype(np.int8),
    ),
    "signed bytes from 0 to 127": (
        NCHW,
        TensorProto.INT8,
        {"input_dtype": "int8", "scale": 127},
        lambda x: np.floor(x * np.float32(127) + np.float32(0.5)).astype(np.int8),
    ),
    **{
        f"pixels as {kind.__name__}": (
            NHWC,
            helper.np_dtype_to_tensor_dtype(np.dtype(kind)),
            {"input_dtype": kind.__name__},
            lambda x, kind=kind: np.round(x * 255).astype(kind).transpose(0, 2, 3, 1),
        )
        for kind in (np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
    },
    "16 bits": (
        NCHW,
        TensorProto.UINT16,
        {"input_dtype": "uint16", "scale": 65535},
        lambda x: np.floor(x * np.float32(65535) + np.float32(0.5)).astype(np.uint16),
    ),
    "rows": (("N", PIXELS), TensorProto.FLOAT, {}, lambda x: x.reshape(len(x), -1)),
    "rows, channels last": (
        ("N", PIXELS),
        TensorProto.FLOAT,
        {"layout": "NHWC"},
        lambda x: x.transpose(0, 2, 3, 1).reshape(len(x), -1),
    ),
    "on their side": (
        ("N", CHANNELS, WIDTH, HEIGHT),
        TensorProto.FLOAT,
        {"layout": "NCWH"},
        lambda x: x.transpose(0, 1, 3, 2),
    ),
    "on their side, channels last": (
        ("N", WIDTH, HEIGHT, CHANNELS),
        TensorProto.FLOAT,
        {"layout": "NWHC"},
        lambda x: x.transpose(0, 3, 2, 1),
    ),
    "any size": (("N", CHANNELS, "h", "w"), TensorProto.FLOAT, {}, lambda x: x),
    "any size, channels last": (("N", "h", "w", CHANNELS), TensorProto.FLOAT, {}, lambda x: x.transpose(0, 2, 3, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_model_gets_what_its_users_prepare(tmp_path: Path, name: str):
    dimensions, dtype, settings, prepare = CASES[name]
    path = classifier(tmp_path / "model.onnx", dimensions, dtype=dtype)
    images = some_images()
    found = adapt(path, AdapterConfig(**settings), SHAPE, CLASSES, images)
    assert found is not None
    assert found.words
    (expected,) = answers(path, np.ascontiguousarray(prepare(images)))
    (got,) = answers(found.model, images)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_model_that_takes_pixels_stays_as_it_is(tmp_path: Path):
    path = classifier(tmp_path / "model.onnx", NCHW)
    assert adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images()) is None
    assert adapt(path, AdapterConfig(normalize="none", layout="NCHW"), SHAPE, CLASSES, some_images()) is None


@pytest.mark.parametrize("batch", [-1, 0])
def test_a_batch_that_cannot_be_is_any(tmp_path: Path, batch: int):
    path = classifier(tmp_path / "model.onnx", (batch, *SHAPE))
    found = adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())
    assert found is not None
    sizes = found.model.graph.input[0].type.tensor_type.shape.dim
    assert (sizes[0].dim_param, sizes[1].dim_value) == ("N", CHANNELS)


@pytest.mark.parametrize(
    ("dimensions", "dtype", "settings", "words"),
    [
        (NCHW, TensorProto.FLOAT, {"layout": "NHWC"}, r"--layout NHWC: input 'images' of .* \[N, 3, 5, 4\], not"),
        (NCHW, TensorProto.FLOAT, {"mean": (0.5, 0.5)}, "--mean: has 2 numbers, the images have 3 channel"),
        (NHWC, TensorProto.UINT8, {"normalize": "half"}, "the model takes whole numbers and normalises itself"),
        (NCHW, TensorProto.FLOAT, {"input_dtype": "uint8"}, "--input-dtype uint8: input 'images' of .* is float32"),
        (NCHW, TensorProto.FLOAT, {"input_name": "data"}, r"--input-name: .* has no input 'data' \(it has: images\)"),
        (NCHW, TensorProto.FLOAT, {"flatten": True}, "--flatten: input 'images' of .* is no row of numbers"),
        (NCHW, TensorProto.INT64, {}, "is int64; say --input-dtype int64 if it takes pixels from 0 to 255"),
        (NCHW, TensorProto.INT8, {}, "is int8; say --input-dtype int8 if it takes pixels from -128 to 127"),
        (NCHW, TensorProto.BOOL, {}, "input 'images' is BOOL; images are float32, float16, bfloat16, float64, uint8"),
        (("N", 3, 8, 8), TensorProto.FLOAT, {}, r"its images are \[N, 3, 8, 8\], those of the data set \[N, 3, 5, 4\]"),
    ],
)
def test_what_contradicts_the_file(
    tmp_path: Path, dimensions: tuple[int | str, ...], dtype: int, settings: dict[str, Any], words: str
):
    path = classifier(tmp_path / "model.onnx", dimensions, dtype=dtype)
    with pytest.raises(UsageError, match=words):
        adapt(path, AdapterConfig(**settings), SHAPE, CLASSES, some_images())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"normalize": "half", "mean": "0.5"}, "leave these out"),
        ({"std": "0.5,0"}, "above 0"),
        ({"scale": 0}, "greater than or equal to"),
        ({"scale": 1e39}, "less than or equal to"),
        ({"mean": "nan"}, "finite"),
        ({"std": "inf"}, "finite"),
        ({"mean": "0.5;0.5"}, "valid number"),
    ],
)
def test_settings_that_mean_nothing(settings: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        AdapterConfig.model_validate(settings)


def test_bfloat16(tmp_path: Path):
    """NumPy has no such type: rounded by hand, to the nearest even of the upper 16 bits."""
    path = classifier(tmp_path / "model.onnx", NCHW, dtype=TensorProto.BFLOAT16)
    found = adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())
    assert found is not None
    assert found.words == ("bfloat16 input",)
    bits = some_images().view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    (expected,) = answers(classifier(tmp_path / "plain.onnx", NCHW), rounded)
    np.testing.assert_allclose(answers(found.model, some_images())[0], expected, rtol=1e-5, atol=1e-5)


def test_one_number_of_a_recipe_is_for_all_channels():
    assert AdapterConfig.model_validate({"mean": 0.5, "std": 2}) == AdapterConfig(mean=(0.5,), std=(2.0,))
    with pytest.raises(ValueError, match="mean"):
        AdapterConfig.model_validate({"mean": True})


def test_a_sequence_of_images_is_no_tensor(tmp_path: Path):
    path = classifier(tmp_path / "model.onnx", NCHW)
    model = onnx.load(path)
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("images", TensorProto.FLOAT, None))
    model.graph.node[0].input[0] = "first"
    model.graph.initializer.append(numpy_helper.from_array(np.array(0), "place"))
    model.graph.node.insert(0, helper.make_node("SequenceAt", ["images", "place"], ["first"]))
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"model\.onnx: input 'images' is no tensor \(sequence\); images are one"):
        adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())


def test_images_on_their_side_are_no_guess(tmp_path: Path):
    """A model for images of another size would fit as well: the user says it."""
    path = classifier(tmp_path / "model.onnx", ("N", CHANNELS, WIDTH, HEIGHT))
    with pytest.raises(
        ModelError, match=r"its images are \[N, 3, 4, 5\], .*; say --layout NCWH if these lie on their side"
    ):
        adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())


def test_an_image_input_with_a_value_of_its_own(tmp_path: Path):
    """It is an initialiser that is an input as well, as every weight of an old file."""
    path = classifier(tmp_path / "model.onnx", NCHW)
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((1, *SHAPE), np.float32), "images"))
    weights = onnx.helper.make_tensor_value_info("weight", TensorProto.FLOAT, [PIXELS, CLASSES])
    model.graph.input.append(weights)
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"values of their own; .* with --input-name: images, weight$"):
        adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())
    found = adapt(path, AdapterConfig(input_name="images"), SHAPE, CLASSES, some_images())
    assert found is not None
    assert found.words == ("input images",)
    (expected,) = answers(classifier(tmp_path / "plain.onnx", NCHW), some_images())
    (got,) = answers(found.model, some_images())
    np.testing.assert_array_equal(got, expected)
    model.graph.input.append(onnx.helper.make_tensor_value_info("heat", TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    with pytest.raises(
        ModelError, match=r"other inputs as well \(heat\); give the others initialisers in the file, or"
    ):
        adapt(path, AdapterConfig(input_name="images"), SHAPE, CLASSES, some_images())


@pytest.mark.parametrize("dimensions", [NCHW, NHWC])
def test_grey_images_for_a_model_of_colours(tmp_path: Path, dimensions: tuple[int | str, ...]):
    path, grey = classifier(tmp_path / "model.onnx", dimensions), some_images()[:, :1]
    with pytest.raises(ModelError, match=r"those of the data set \[N, 1, 5, 4\]; say --channels GREY to show"):
        adapt(path, AdapterConfig(), (1, HEIGHT, WIDTH), CLASSES, grey)
    told = AdapterConfig.model_validate({"channels": "GREY", "normalize": "imagenet"})
    found = adapt(path, told, (1, HEIGHT, WIDTH), CLASSES, grey)
    assert found is not None
    prepared = (grey.repeat(3, 1) - channels(MEAN)) / channels(STD)
    axes = (0, 1, 2, 3) if dimensions == NCHW else (0, 2, 3, 1)
    (expected,) = answers(path, np.ascontiguousarray(prepared.transpose(axes)))
    (got,) = answers(found.model, np.ascontiguousarray(grey))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(UsageError, match="--channels GREY: the images have 3 channels already"):
        adapt(path, told, SHAPE, CLASSES, some_images())


@pytest.mark.parametrize("reshape", [(1, -1), (0, -1)])
def test_a_free_batch_is_held_against_the_answers(tmp_path: Path, reshape: tuple[int, int]):
    """Exporters write a batch of one into a Reshape and call the batch free all the same."""
    path = classifier(tmp_path / "m.onnx", NCHW, shape=reshape)
    found = adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images())
    if reshape == (0, -1):
        assert found is None
    else:
        assert found is not None
        assert found.words == ("one image at a time",)
        (logits,) = answers(found.model, some_images(), each=1)
        np.testing.assert_array_equal(logits, answers(path, some_images(), each=1)[0])
        with pytest.raises(Exception, match="dimensions"):
            answers(found.model, some_images())


def test_a_reshape_to_one_row_that_takes_any_batch(tmp_path: Path):
    ways = {"one": [1, -1], "rows": [-1, CLASSES]}
    behind = [
        *(
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(to), name))
            for name, to in ways.items()
        ),
        helper.make_node("Reshape", ["scores", "one"], ["long"]),
        helper.make_node("Reshape", ["long", "rows"], ["again"]),
    ]
    outputs = [helper.make_tensor_value_info("again", TensorProto.FLOAT, ["N", CLASSES])]
    path = classifier(tmp_path / "m.onnx", NCHW, behind=behind, outputs=outputs)
    assert adapt(path, AdapterConfig(), SHAPE, CLASSES, some_images()) is None
