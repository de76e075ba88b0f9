"""Common corruptions: what other libraries make of the same image, every size, the same noise for the same sample."""

from __future__ import annotations

import colorsys
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.commands.verify import verify
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset, Split
from edgeproof.stages.verify import CorruptionsConfig, TorchSubject, VerifyConfig, sample
from edgeproof.stages.verify.measures.corruption_accuracy import corrupted_accuracies
from edgeproof.stages.verify.measures.corruptions import CORRUPTIONS, corrupt
from scipy.fft import dctn, idctn
from sklearn.datasets import load_sample_images
from torch.nn import functional
from torchvision.transforms.v2 import functional as vision

SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 96, 80))
ROW = np.array([7])
# The luminance table of ITU-T T.81, Annex K.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def photo(shape: tuple[int, int, int]) -> torch.Tensor:
    """A part of a photograph with colours and edges, of whole 8-bit steps, `[1, C, H, W]`."""
    channels, height, width = shape
    picture = torch.from_numpy(load_sample_images().images[1][:400, :400].transpose(2, 0, 1).copy())
    return (vision.resize(picture, [height, width])[:channels].float() / 255)[None]


def corrupted(images: torch.Tensor, name: str, severity: int) -> torch.Tensor:
    return torch.from_numpy(corrupt(images.numpy(), np.repeat(ROW, len(images)), name, severity))


def inner(images: torch.Tensor, border: int) -> torch.Tensor:
    return images[..., border:-border, border:-border]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_corruption_takes_every_size_and_grows_with_severity(shape: tuple[int, int, int]):
    images = photo(shape)
    for name in CORRUPTIONS:
        distances = []
        for severity in (1, 3, 5):
            changed = corrupted(images, name, severity)
            assert (changed.dtype, changed.shape) == (torch.float32, images.shape)
            assert 0 <= changed.min() <= changed.max() <= 1
            distances.append(float((changed - images).square().mean()))
        assert distances[0] < distances[2], name
        assert distances[2] > 0, name


def test_jpeg_rounds_the_cosine_transform_of_a_block_by_the_standards_table():
    images = photo((1, 8, 8))
    steps = (LUMINANCE * (200 - 2 * 58) + 50) // 100  # quality 58
    waves = np.rint(dctn(images[0, 0].numpy() * 255 - 128, norm="ortho") / steps) * steps
    expected = np.clip(idctn(waves, norm="ortho") + 128, 0, 255) / 255
    changed = corrupted(images, "jpeg_compression", 3)[0, 0].numpy()
    assert np.abs(changed - expected).max() < 1.5 / 255
    assert np.abs(changed - images[0, 0].numpy()).max() > 5 / 255


@pytest.mark.parametrize(("shape", "sigma"), [((1, 8, 8), 0.7), ((3, 32, 32), 0.7), ((3, 96, 80), 3.0)])
def test_gaussian_blur_is_torchvisions_away_from_the_border(shape: tuple[int, int, int], sigma: float):
    images, reach = photo(shape), int(4 * sigma + 0.5)
    expected = vision.gaussian_blur(images, [2 * reach + 1, 2 * reach + 1], [sigma, sigma])
    torch.testing.assert_close(inner(corrupted(images, "gaussian_blur", 3), reach), inner(expected, reach))


def test_defocus_spreads_a_pixel_over_a_disk():
    images, disk = photo((3, 96, 80)), torch.zeros(7, 7)
    for y in range(7):
        for x in range(7):
            disk[y, x] = (y - 3) ** 2 + (x - 3) ** 2 <= 9
    kernel = (disk / disk.sum()).expand(3, 1, 7, 7)
    expected = functional.conv2d(functional.pad(images, [3] * 4, mode="reflect"), kernel, groups=3)
    torch.testing.assert_close(corrupted(images, "defocus_blur", 1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("shape", "kept"), [((1, 8, 8), 0.15), ((3, 32, 32), 0.15), ((3, 96, 80), 0.05)])
def test_contrast_is_torchvisions_channel_by_channel(shape: tuple[int, int, int], kept: float):
    images = photo(shape)
    expected = vision.adjust_contrast(images.transpose(0, 1), kept).transpose(0, 1)
    torch.testing.assert_close(corrupted(images, "contrast", 5), expected)


def test_brightness_raises_the_value_of_hsv():
    images = photo((3, 32, 32))
    images[0, :, 0, 0] = 0
    pixels = images[0].permute(1, 2, 0).reshape(-1, 3).tolist()
    raised = [(h, s, min(v + 0.3, 1)) for h, s, v in (colorsys.rgb_to_hsv(*pixel) for pixel in pixels)]
    expected = torch.tensor([colorsys.hsv_to_rgb(*pixel) for pixel in raised]).reshape(32, 32, 3).permute(2, 0, 1)
    torch.testing.assert_close(corrupted(images, "brightness", 5)[0], expected, atol=1e-5, rtol=0)


def test_pixelate_leaves_the_means_of_blocks():
    images = photo((3, 96, 80))
    expected = functional.avg_pool2d(images, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert (corrupted(images, "pixelate", 2) - expected).abs().max() < 1.1 / 255


def test_noises_have_the_spread_that_their_constants_say():
    gray = torch.full((1, 3, 64, 64), 0.5)
    for name, severity, spread in (
        ("gaussian_noise", 3, 0.08),
        ("shot_noise", 3, (0.5 / 100) ** 0.5),
        ("impulse_noise", 5, (0.07 * 0.25) ** 0.5),
        ("speckle_noise", 3, 0.5 * 0.12),
    ):
        noise = corrupted(gray, name, severity) - gray
        assert float(noise.std()) == pytest.approx(spread, rel=0.06), name
        assert abs(float(noise.mean())) < 0.01, name
    salted = corrupted(gray, "impulse_noise", 5)
    assert set(salted.unique().tolist()) == {0.0, 0.5, 1.0}


def test_a_samples_noise_follows_from_its_row_alone(digits: Dataset):
    split = digits.test.take(slice(0, 6))
    backwards = split.take(np.arange(6)[::-1])
    before = np.random.get_state()[1].copy()
    for name in CORRUPTIONS:
        whole = corrupt(split.images, split.index, name, 4)
        assert np.array_equal(corrupt(backwards.images, backwards.index, name, 4)[::-1], whole)
        assert np.array_equal(corrupt(split.images[2:3], split.index[2:3], name, 4)[0], whole[2])
    assert np.array_equal(np.random.get_state()[1], before)
    twice = corrupt(np.repeat(split.images[:1], 2, 0), np.array([0, 1]), "gaussian_noise", 4)
    assert not np.array_equal(twice[0], twice[1])


def test_all_subjects_are_asked_about_the_same_images_and_counted(digits: Dataset, student: Classifier):
    split = digits.test.take(slice(0, 300))  # more than one batch
    config = CorruptionsConfig(names=("contrast", "shot_noise"), severities=(5, 1))
    predict = TorchSubject("student", student).predictor()
    asked: list[np.ndarray] = []

    def broken(images: np.ndarray) -> np.ndarray:
        asked.append(images)
        logits = predict(images)
        logits[:, 0] = np.nan
        return logits

    found = corrupted_accuracies({"student": predict, "broken": broken}, split, config)
    assert sum(map(len, asked)) == 4 * 300
    right = np.array(
        [
            [
                predict(corrupt(split.images, split.index, name, severity)).argmax(1) == split.labels
                for severity in (5, 1)
            ]
            for name in ("contrast", "shot_noise")
        ]
    )
    record = found["student"]
    assert record.accuracy["contrast"] == pytest.approx(right[0].mean(1).tolist())
    assert record.severities == (5, 1)
    assert record.constants == "CIFAR-10-C"
    assert record.mean.value == pytest.approx(right.mean())
    assert record.mean.interval is not None
    low, high = record.mean.interval
    assert low < record.mean.value < high
    assert found["broken"].mean.value == 0


def test_what_does_not_suit_the_images_is_refused_before_any_attack(digits: Dataset):
    split = digits.test.take(slice(0, 3))
    multispectral = Split(np.repeat(split.images, 2, 1), split.labels, split.index)
    config = VerifyConfig(corruptions=CorruptionsConfig(names=("contrast", "pixelate")))
    with pytest.raises(
        UsageError, match=r"^corruptions: pixelate: for images of 1 or 3 channels, these have 2 \(for any"
    ):
        sample(multispectral, config)
    assert len(sample(split, config)) == 3
    contrast = CorruptionsConfig(names=("contrast",))
    assert len(sample(multispectral, config.model_copy(update={"corruptions": contrast}))) == 3


def test_a_proof_gets_the_column_without_a_second_attack(float_onnx: Path, tmp_path: Path, monkeypatch):
    def proof(**more):
        small = ["verify.routes=[replay, whitebox]", "verify.backward=[relu]", "verify.square_queries=50"]
        asked = {"dataset": "digits", "eps": 0.1, "samples": 2, "out": tmp_path, "workers": 1, "overrides": small}
        return verify(float_onnx, **asked, **more)

    plain = proof()
    assert "corruptions" not in plain.subjects[0]
    monkeypatch.setattr("edgeproof.pipeline.run.proof.attack_subject", None)
    with pytest.raises(UsageError, match="--gate: corrupted_accuracy is measured with --corruptions"):
        proof(gates=["corrupted_accuracy >= 0.9"])
    corruptions = CorruptionsConfig(severities=(3,))
    report = proof(corruptions=corruptions, gates=["corrupted_accuracy > 1"])
    (engine,) = report.subjects
    assert engine["robust_accuracy"] == plain.subjects[0]["robust_accuracy"]
    assert list(engine["corruptions"]["accuracy"]) == list(CORRUPTIONS)
    assert report.exit_code == 1
    assert json.loads((tmp_path / "report.json").read_text())["subjects"] == report.subjects
    assert "| corr. |" in (tmp_path / "summary.md").read_text()
