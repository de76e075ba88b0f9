"""Models of 8-bit images: what counts as broken lies in the ball as the model sees it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.request.verification import Request, check_request
from edgeproof.stages.data import DataConfig
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import Attacked, Evaluation, VerifyConfig, attack_subject
from onnx import TensorProto, helper

from tests.stages.adapt.foreign import answers
from tests.stages.twin.graphs import model

SHAPE = (1, 3, 4)


def request(folder: Path, images: np.ndarray, norm: str = "Linf", eps: float = 0.1) -> Request:
    """A model of bytes, asked about these images."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["y"]),
    ]
    weight = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    proto = model(
        nodes, inputs={"pixels": ["n", *SHAPE]}, initializers={"weight": weight}, input_type=TensorProto.UINT8
    )
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]))
    onnx.save(proto, folder / "bytes.onnx")
    np.savez(folder / "own.npz", images=images, labels=np.arange(len(images)) % 3)
    return check_request(
        str(folder / "bytes.onnx"),
        DataConfig(dataset=str(folder / "own.npz")),
        ThreatModel(norm=norm, eps=eps),
        VerifyConfig(samples=len(images), isolate=False),
        "onnxruntime",
        scratch=folder,
    )


def test_no_image_of_the_ball_is_seen_outside_of_it(tmp_path: Path):
    rng = np.random.default_rng(1)
    found = request(tmp_path, rng.random((9, *SHAPE), np.float32), eps=0.1)
    assert found.threat.eps == 25 / 255
    clean = found.samples.images
    np.testing.assert_allclose(clean * 255, np.rint(clean * 255), atol=1e-4)
    corners = (clean + found.threat.eps * rng.choice([-1, 1], clean.shape)).clip(0, 1).astype(np.float32)
    seen = np.floor(255 * corners + np.float32(0.5)) / 255
    assert np.abs(seen - clean).max() <= 25 / 255 + 1e-6
    adapted = found.adapted["onnxruntime"].model
    np.testing.assert_allclose(answers(adapted, corners)[0], answers(adapted, seen.astype(np.float32))[0], rtol=1e-5)
    assert [each.partition(": ")[0] for each in found.warnings] == ["8-bit", "8-bit"]


def test_what_is_of_8_bits_stays_as_it_is(tmp_path: Path):
    images = np.random.default_rng(1).integers(0, 256, (9, *SHAPE), np.uint8)
    found = request(tmp_path, images, eps=8 / 255)
    assert (found.threat.eps, found.warnings) == (8 / 255, ())
    assert np.array_equal(found.samples.images[np.argsort(found.samples.index)], images / np.float32(255))


def test_in_another_norm_it_is_said_what_counts(tmp_path: Path):
    images = np.random.default_rng(1).integers(0, 256, (9, *SHAPE), np.uint8)
    (told,) = request(tmp_path, images, norm="L2", eps=0.5).warnings
    assert told == "8-bit: bytes.onnx takes 8-bit images; only 8-bit images inside the L2 ball are counted"


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_a_ball_without_another_image_is_refused(tmp_path: Path, norm: str):
    with pytest.raises(UsageError, match=r"^--eps: .*bytes\.onnx takes 8-bit images, whose smallest change is 1/255"):
        request(tmp_path, np.zeros((9, *SHAPE), np.uint8), norm=norm, eps=0.003)


STEPS_TINY, TINY = 3, (1, 2, 2)
OFFSETS = np.array(list(product(range(-4, 5), repeat=4)))


def tiny(folder: Path, weight: np.ndarray, images: np.ndarray, labels: np.ndarray) -> Request:
    """A linear model of four bytes, asked in an L2 ball of three steps."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["y"]),
    ]
    proto = model(nodes, inputs={"pixels": ["n", *TINY]}, initializers={"weight": weight}, input_type=TensorProto.UINT8)
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]))
    onnx.save(proto, folder / "tiny.onnx")
    np.savez(folder / "own.npz", images=images.reshape(-1, *TINY), labels=labels)
    source, threat = DataConfig(dataset=str(folder / "own.npz")), ThreatModel(norm="L2", eps=STEPS_TINY / 255)
    config = VerifyConfig(samples=len(images), isolate=False, square_queries=100, routes=("whitebox", "square"))
    return check_request(str(folder / "tiny.onnx"), source, threat, config, "onnxruntime", scratch=folder)


@pytest.mark.slow
def test_in_l2_what_falls_falls_to_an_image_of_the_ball(tmp_path: Path):
    """Every image of the ball is asked about, and every one that a real-valued image of it is rounded to."""
    rng = np.random.default_rng(5)
    weight = rng.integers(-9, 10, (4, 3)).astype(np.float32)
    inside = (OFFSETS**2).sum(1) <= STEPS_TINY**2
    reached = (np.maximum(np.abs(OFFSETS) - 0.5, 0) ** 2).sum(1) < STEPS_TINY**2
    images = rng.integers(20, 236, (4000, 4))
    labels = (images @ weight).argmax(1)
    others = (images[:, None] + OFFSETS[reached]) @ weight
    wrong = others.argmax(2) != labels[:, None]
    falls, seems = wrong[:, inside[reached]].any(1), wrong.any(1)
    kinds = [np.flatnonzero(each)[:8] for each in (falls, seems & ~falls, ~seems)]
    assert [len(each) for each in kinds] == [8, 8, 8]
    chosen = np.sort(np.concatenate(kinds))
    found = tiny(tmp_path, weight, images[chosen].astype(np.uint8), labels[chosen])
    subject = found.subjects["onnxruntime"]
    evaluation = Evaluation(found.samples, found.threat, found.config)
    attack_subject(subject, evaluation, found.config.routes, tmp_path / "attacked")
    attacked = Attacked.load(tmp_path / "attacked")
    assert attacked.clean_correct.all()
    truth = ~falls[chosen][attacked.index]
    assert np.array_equal(attacked.robust, truth)
    assert np.array_equal(attacked.eight_bit, attacked.robust)
    steps = attacked.candidates.images * 255
    clean = found.samples.images[attacked.candidates.rows_in(found.samples.index)] * 255
    assert np.abs(steps - np.rint(steps)).max() < 1e-3
    assert ((np.rint(steps) - np.rint(clean)) ** 2).reshape(len(steps), -1).sum(1).max() <= STEPS_TINY**2
