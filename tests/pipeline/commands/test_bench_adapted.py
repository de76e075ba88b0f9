"""Files that want other images than ours are timed with their adapter, and named as they were given."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.core.model_file import sha256_of
from edgeproof.pipeline.commands.bench import bench_files
from onnx import TensorProto

from tests.stages.adapt.foreign import CHANNELS, HEIGHT, SHAPE, WIDTH, classifier


def test_bytes_with_the_channels_last_beside_pixels(tmp_path: Path):
    theirs = classifier(tmp_path / "theirs.onnx", ("N", HEIGHT, WIDTH, CHANNELS), dtype=TensorProto.UINT8)
    ours = classifier(tmp_path / "ours.onnx", ("N", *SHAPE))
    found = bench_files(theirs, against=[str(ours)], batches=[2], repeats=10)
    assert [each["file"] for each in found["engines"]] == [str(theirs), str(ours)]
    assert found["engines"][0]["sha256"] == sha256_of(theirs)
    assert found["engines"][0]["latency_ms"][0]["batch"] == 2


def test_images_of_any_size_cannot_be_drawn(tmp_path: Path):
    model = classifier(tmp_path / "model.onnx", ("N", CHANNELS, "h", "w"))
    with pytest.raises(UsageError, match=r"input 'images' is \[N, 3, h, w\], which does not say how large"):
        bench_files(model, batches=[2], repeats=10)
