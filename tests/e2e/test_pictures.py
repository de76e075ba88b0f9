"""Adversarial examples as PNG files: read back by others, they fool the engine."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.e2e.conftest import edgeproof
from tests.plain_runtime import answers_of


def read(path: Path) -> np.ndarray:
    """`[1, 1, H, W]` in [0, 1]."""
    return np.asarray(Image.open(path), np.float32)[None, None] / np.float32(255)


def test_what_is_read_from_the_pictures_fools_the_engine(run: Path, tmp_path: Path):
    folder = tmp_path / "pictures"
    done = edgeproof("pack", run, "--png", folder, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    with (folder / "images.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert 0 < len(rows) == told["written"] == told["fallen"]
    engine = run / "engines" / "onnxruntime" / "model.onnx"
    eps = json.loads((run / "report.json").read_text())["threat_model"]["eps"]
    for row in rows:
        clean, adversarial = (read(folder / row[kind]) for kind in ("clean", "adversarial"))
        answers = [int(answers_of(engine, image).argmax()) for image in (clean, adversarial)]
        assert answers == [int(row["label"]), int(row["answer"])]
        # Pixels of digits are sixteenths: the clean ones are rounded too.
        assert np.abs(adversarial - clean).max() <= eps + 0.5 / 255 + 1e-6
        assert 0 < float(row["largest_change"]) <= eps + 1e-6, "of the test image itself"
        difference = read(folder / row["difference"])
        assert {difference.min(), difference.max()} & {0.0, 1.0}
    width, height = Image.open(folder / "contact_sheet.png").size
    assert 3 * 64 < width < 4 * 64
    assert min(len(rows), 40) * 64 < height
    # Above each row of pictures a line of black letters on white: row, label and answer.
    sheet = np.asarray(Image.open(folder / "contact_sheet.png").convert("L"))
    first = read(folder / rows[0]["clean"])[0, 0].repeat(8, 0).repeat(8, 1) * 255
    top = next(line for line in range(height) if np.array_equal(sheet[line : line + 64, 4:68], first.astype(np.uint8)))
    for title in (sheet[: top // 2], sheet[top // 2 : top]):
        assert title.max() == 255
        assert 0.01 < (title < 128).mean() < 0.3


def test_what_is_wrong_is_said_and_nothing_is_written(run: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    other = run / "export" / "model.onnx"
    for arguments, words in (
        (("--png", tmp_path / "mine"), "exists and is not an empty folder"),
        (("--png", tmp_path / "a", "--subject", "onnxruntim"), "no engine 'onnxruntim'; did you mean 'onnxruntime'?"),
        (("--png", tmp_path / "a", "--engine", other), "not the engine that the run is about (another SHA-256)"),
        (("--png", tmp_path / "a", "--samples", "0"), "--samples"),
    ):
        done = edgeproof("pack", run, *arguments)
        assert (done.code, words in done.err) == (2, True), done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]
