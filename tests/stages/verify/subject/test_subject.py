"""A subject opened: whose answers, and whose gradients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeproof.stages.data import Dataset
from edgeproof.stages.distill.training.selection import pgd_survivors
from edgeproof.stages.quantize import quantize_onnx
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import EngineSubject, VerifyConfig
from edgeproof.targets.base import EngineFile, targets

MODES = VerifyConfig().backward


@pytest.fixture(scope="module")
def coarse_onnx(float_onnx: Path, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coarse") / "model.onnx"
    scheme = replace(targets["onnxruntime"].scheme, weight="int4", activation="uint4")
    quantize_onnx(float_onnx, path, scheme, digits.train.images[:64])
    return path


def open_subject(path: Path, modes: tuple[str, ...] = MODES):
    return EngineSubject("engine", EngineFile.of("onnxruntime", path), path, modes).open()  # type: ignore[arg-type]


def test_steps_too_fine_to_matter_are_not_attacked_twice(int8_onnx: Path, coarse_onnx: Path):
    assert list(open_subject(int8_onnx).gradient_sources) == ["relu", "relu-ceiling"]
    assert list(open_subject(coarse_onnx).gradient_sources) == ["relu", "relu-ceiling", "smooth"]
    assert list(open_subject(int8_onnx, ("smooth",)).gradient_sources) == ["smooth"]


def test_the_twin_that_is_compared_with_the_engine_rounds(coarse_onnx: Path, digits: Dataset):
    opened = open_subject(coarse_onnx, ("smooth",))
    assert opened.twin is not None
    images = digits.test.images[:100]
    assert np.allclose(opened.twin(images), opened.predict(images), atol=1e-4)


def test_between_the_steps_of_4_bits_the_smooth_gradient_finds_more(
    coarse_onnx: Path, digits: Dataset, threat: ThreatModel
):
    opened = open_subject(coarse_onnx)
    x, y = torch.from_numpy(digits.test.images[:300]), torch.from_numpy(digits.test.labels[:300])
    robust = {}
    for mode in ("relu", "smooth"):
        masks = pgd_survivors(opened.gradient_sources[mode], x, y, threat, steps=20, seed=0, every_point=True)
        robust[mode] = float(masks[1].float().mean())
    assert robust["smooth"] < robust["relu"] - 0.01
