"""Adversarial examples as PNG files: read back by others, they fool the engine."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path

import numpy as np
import pytest
from edgeproof.pipeline.pictures import adversarial_images
from edgeproof.pipeline.pictures.adversarial_images import save_pictures
from PIL import Image

from tests.e2e.conftest import FEW, edgeproof
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


def test_the_folder_of_the_command_itself_is_refused_and_a_link_is_followed(run: Path, tmp_path: Path):
    here, link = tmp_path / "here", tmp_path / "link"
    here.mkdir()
    link.symlink_to("here")
    refused = edgeproof("pack", run, "--png", ".", cwd=here)
    words = "edgeproof: --png .: the command runs there, and the folder is replaced; name a new one\n"
    assert (refused.code, refused.err) == (2, words)
    done = edgeproof("pack", run, "--png", link)
    assert done.code == 0, done.err
    assert link.is_symlink()
    assert (here / "images.csv").is_file()


def test_a_full_disk_is_told_of_the_folder_that_was_asked_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(adversarial_images, "_sheet", full)
    with pytest.raises(OSError, match="No space left on device") as refused:
        save_pictures(run, png=tmp_path / "pictures")
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(tmp_path / "pictures"))
    assert list(tmp_path.iterdir()) == []


def test_the_file_that_verify_attacked_is_found_where_it_lay(float_onnx: Path, tmp_path: Path):
    """Outside the proof, whose manifest has its name alone."""
    model = tmp_path / "elsewhere" / "model.onnx"
    model.parent.mkdir()
    model.write_bytes(float_onnx.read_bytes())
    asked = (
        "--dataset",
        "digits",
        "--eps",
        "0.1",
        "--samples",
        "8",
        "--workers",
        "1",
        *FEW,
        "--out",
        tmp_path / "proof",
    )
    assert edgeproof("verify", model, *asked).code == 0
    done = edgeproof("pack", tmp_path / "proof", "--png", tmp_path / "pictures", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    assert json.loads(done.out)["subject"] == "onnxruntime"
    model.write_bytes(b"another")
    gone = edgeproof("pack", tmp_path / "proof", "--png", tmp_path / "more", cwd=tmp_path)
    assert (gone.code, "name its file with --engine" in gone.err) == (2, True), gone.err
