"""The small run, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from edgeproof.stages.data import Dataset

from tests.pipeline.bundle.small_run import SAMPLES, SUBJECTS, Attacks, write_run


@pytest.fixture(scope="session")
def attacks(digits: Dataset) -> Attacks:
    split = digits.test.take(slice(0, SAMPLES))
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(SAMPLES), 2)
    shape = (len(rows), *split.images.shape[1:])
    noisy = {
        name: (split.images[rows] + rng.uniform(-0.6, 0.6, shape)).clip(0, 1).astype(np.float32) for name in SUBJECTS
    }
    return Attacks(split, noisy)


@pytest.fixture(scope="session")
def finished(int8_onnx: Path, attacks: Attacks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    write_run(folder, int8_onnx, attacks)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed at will."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
