"""What the probe's random search finds where gradients lead nowhere, and that 4-bit activations are such a place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from edgeproof.stages.data import Dataset, Split
from edgeproof.stages.quantize import QuantizeConfig, calibration_split, quantize_onnx, scheme_of
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import EngineSubject, VerifyConfig
from edgeproof.stages.verify.checks.base import find
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.evidence.counts import Counts
from edgeproof.stages.verify.evidence.shard_result import ShardResult
from edgeproof.stages.verify.routes.base import Batch, Context
from edgeproof.stages.verify.routes.probe import PROBE, Probe
from edgeproof.stages.verify.shards.eight_bit import attack_eight_bit
from edgeproof.stages.verify.shards.shard import attack_shard
from edgeproof.stages.verify.subject.subject import OpenedSubject
from edgeproof.targets.base import EngineFile, targets

EPS, COUNT, SHAPE = 0.1, 6, (1, 4, 4)


def falls_within(images: np.ndarray) -> np.ndarray:
    """Four classes; the first one's lead is gone where the pixels are half an eps brighter, and greatest on the rim."""
    lead = np.abs(images - 0.5 - EPS / 2).reshape(len(images), -1).mean(1) - 0.3 * EPS
    return np.stack([lead, *[np.zeros_like(lead)] * 3], 1).astype(np.float32)


def test_what_is_worst_within_the_ball_is_found_there():
    images = np.full((COUNT, *SHAPE), 0.5, np.float32)
    batch = Batch(torch.from_numpy(images), torch.zeros(COUNT, dtype=torch.long), np.arange(COUNT))
    threat = ThreatModel(norm="Linf", eps=EPS)
    assert (falls_within(images).argmax(1) == 0).all()
    assert (falls_within(images + np.float32(EPS)).argmax(1) == 0).all()
    context = Context(OpenedSubject(falls_within, {}, 4), threat, VerifyConfig(), Candidates.none(SHAPE))
    outcome = Probe().run(batch, context)
    assert outcome.broken.all()
    assert np.abs(outcome.candidates.images - images).max() <= EPS + 1e-6


@pytest.mark.parametrize("searched", [True, False])
def test_8_bit_images_within_the_ball_are_found_where_square_finds_none(searched: bool):
    images = np.full((COUNT, *SHAPE), 128 / 255, np.float32)
    split = Split(images, np.zeros(COUNT, np.int64), np.arange(COUNT))
    broken = np.zeros(COUNT, bool)
    bits = {"square": broken, **({PROBE: broken} if searched else {})}
    result = ShardResult(split, ~broken, bits, Candidates.none(SHAPE), Counts())
    batch = Batch(torch.from_numpy(images), torch.from_numpy(split.labels), split.index)
    threat = ThreatModel(norm="Linf", eps=EPS)
    context = Context(OpenedSubject(falls_within, {}, 4), threat, VerifyConfig(), Candidates.none(SHAPE))
    attack_eight_bit(result, batch, context)
    assert (result.eight_bit == (not searched)).all()
    found = result.candidates.images[result.candidates.attack == "probe/8-bit"]
    assert len(found) == (COUNT if searched else 0)
    np.testing.assert_allclose(np.rint(found * 255) / 255, found, atol=1e-6)


@pytest.fixture(scope="module")
def four_bit_onnx(float_onnx: Path, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = QuantizeConfig(weight_bits=4, activation_bits=4)
    path = tmp_path_factory.mktemp("w4a4") / "model.onnx"
    images = calibration_split(digits.train, config.calibration).images
    quantize_onnx(float_onnx, path, scheme_of(config, targets["onnxruntime"].scheme), images)
    return path


def subject(path: Path) -> EngineSubject:
    return EngineSubject("engine", EngineFile.of("onnxruntime", path), path, VerifyConfig().backward, isolated=False)


def test_activations_of_4_bits_are_coarse(four_bit_onnx: Path, int8_onnx: Path):
    assert subject(four_bit_onnx).open().coarse
    assert not subject(int8_onnx).open().coarse


@pytest.mark.slow
def test_on_4_bit_activations_the_search_finds_what_gradients_miss_and_that_is_said(
    four_bit_onnx: Path, digits: Dataset, threat: ThreatModel
):
    config = VerifyConfig(backward=("relu",), strong_restarts=1)
    samples = digits.test.take(slice(0, 40))
    result = attack_shard(
        subject(four_bit_onnx),
        samples,
        threat,
        config,
        ("whitebox", "probe"),
        Candidates.none(samples.images.shape[1:]),
    )
    assert (result.bits["whitebox"] & ~result.bits["probe"]).sum() > 3
    assert "white-box-too-weak" in {finding.name for finding in find(result.counts, result.warnings)}

    delivered = result.candidates.attack == "probe/8-bit"
    images, rows = result.candidates.images[delivered], result.candidates.rows_in(samples.index)[delivered]
    assert delivered.any(), "8-bit images are searched for as well"
    np.testing.assert_allclose(np.rint(images * 255) / 255, images, atol=1e-6)
    wrong = subject(four_bit_onnx).open().predict(images).argmax(1) != samples.labels[rows]
    assert not result.eight_bit[rows[wrong]].any()
