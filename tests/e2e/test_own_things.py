"""One's own model and images by the front door: `init`, the build of what it writes, dry runs, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from edgeproof.pipeline.recipe.read import read_recipe
from edgeproof.pipeline.request.verification_settings import Settings
from edgeproof.stages.data import DataConfig, load_dataset

from tests.e2e.conftest import edgeproof
from tests.e2e.test_commands import one_line

SHOPNET = """\
from torch import nn

from shoplayers import block


class ShopNet(nn.Module):
    def __init__(self, image_shape, classes):
        super().__init__()
        channels, height, width = image_shape
        self.body = nn.Sequential(block(channels, 4), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes))

    def forward(self, images):
        return self.body(images)


def gone(image_shape):
    raise AssertionError("never called")


def wide(image_shape, classes):
    return ShopNet(image_shape, classes + 1)


def shares(image_shape, classes):
    return nn.Sequential(ShopNet(image_shape, classes), nn.Softmax(1))
"""
SHOPLAYERS = """\
from torch import nn


def block(before, after):
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU())
"""
SHORT = [
    "teacher.train.epochs=1",
    "distill.epochs=1",
    "distill.inner.steps=1",
    "distill.selection_steps=1",
    "teacher.train.selection_steps=1",
    "verify.attacks=[square]",
    "verify.routes=[replay, square]",
    "verify.square_queries=10",
    "verify.curve=null",
    "verify.isolate=false",
    "bench.repeats=10",
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A model, what it imports, and images in four classes, in a folder that is not the working directory."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shopnet.py").write_text(SHOPNET)
    (folder / "shoplayers.py").write_text(SHOPLAYERS)
    random = np.random.default_rng(0)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 4
        images = random.integers(0, 100, (count, 8, 8, 3))
        images[np.arange(count), 0, labels] += 150
        return images.astype(np.uint8), labels

    (train, train_labels), (test, labels) = drawn(60), drawn(12)
    names = np.array(["apple", "bread", "cheese", "dates"])
    arrays = {"images": test, "labels": labels, "train_images": train, "train_labels": train_labels}
    np.savez(folder / "goods.npz", **arrays, class_names=names)
    return folder


def init(shop: Path, *more: str):
    return edgeproof("init", "recipe.yaml", "--data", "./goods.npz", *more, cwd=shop)


@pytest.mark.slow
def test_what_init_writes_builds_from_anywhere(shop: Path, tmp_path: Path):
    done = init(shop, "--model", "shopnet:ShopNet")
    assert done.code == 0, done.err
    assert (
        "3×8×8 pixels, 4 classes (apple, bread, cheese, dates); 54 to train on, 6 to validate, 12 to test" in done.out
    )
    assert "student: shopnet:ShopNet: 180 parameters" in done.out  # 3*4*9 + 4, 16*4 + 4
    recipe = yaml.safe_load((shop / "recipe.yaml").read_text())
    assert recipe["data"] == {"dataset": "./goods.npz"}
    assert recipe["student"] == {"model": "shopnet:ShopNet"}
    assert recipe["quantize"]["calibration"] == {"samples": 54}
    assert recipe["verify"] == {"samples": 12}
    asked = [part for override in SHORT for part in ("--set", override)]
    asked += ["--out", "run", "--workers", "2"]
    built = edgeproof("build", shop / "recipe.yaml", *asked, cwd=tmp_path)
    assert built.code in (0, 4), built.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [each["name"] for each in report["subjects"]] == ["teacher", "student", "onnxruntime"]
    # The stages' keys know the model and what it imports.
    planned = edgeproof("build", shop / "recipe.yaml", *asked, "--dry-run", "--json", cwd=tmp_path)
    assert {each["state"] for each in json.loads(planned.out)["stages"]} == {"cached"}, planned.out
    (shop / "shoplayers.py").write_text(SHOPLAYERS + "# changed\n")
    planned = edgeproof("build", shop / "recipe.yaml", *asked, "--dry-run", "--json", cwd=tmp_path)
    assert json.loads(planned.out)["stages"][0]["state"] == "to do"
    # What judges a finished run imports nothing of a user's.
    (shop / "shopnet.py").write_text("raise SystemExit('imported')\n")
    for command in (["report", "run"], ["gate", "run", "--require", "clean_accuracy >= 0.0"]):
        assert edgeproof(*command, cwd=tmp_path).code in (0, 1, 4)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("shopnet:gone", ["is called with (image_shape, classes) = ((3, 8, 8), 4): TypeError: gone() takes 1"]),
        ("shopnet:wide", ["what it returns must answer images [2, 3, 8, 8] with logits [2, 4], answers with [2, 5]"]),
        ("shopnet:shares", ["shopnet:shares: answers with probabilities"]),
        ("shopnet:ShopNet2", ["--model: model 'shopnet:ShopNet2': shopnet has no function 'ShopNet2'"]),
        ("nowhere:net", ["No module named 'nowhere'; there is none installed, nor beside the recipe"]),
        ("resnet81", ["--model: unknown model 'resnet81'; did you mean"]),
    ],
)
def test_a_model_that_does_not_suit_is_one_line_and_nothing_is_written(shop: Path, model: str, words: list[str]):
    one_line(init(shop, "--model", model), 2, *words)
    assert not (shop / "recipe.yaml").exists()


def test_a_model_without_images_and_images_to_test_alone(shop: Path):
    one_line(edgeproof("init", "r.yaml", "--model", "shopnet:ShopNet", cwd=shop), 2, "--data: is needed as well")
    np.savez(shop / "tests.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4))
    done = edgeproof("init", "r.yaml", "--data", "./tests.npz", cwd=shop)
    one_line(done, 2, "--data ./tests.npz: has test images only, and a build trains; `init --for prove`")
    done = edgeproof("init", "r.yaml", "--for", "prove", "--data", "./tests.npz", cwd=shop)
    assert done.code == 0, done.err
    one_line(
        edgeproof("init", "s.yaml", "--for", "sell", cwd=shop), 2, "--for sell: must be one of: build, prove, gate"
    )


def test_a_template_to_prove_says_what_verify_reads(shop: Path, float_onnx: Path):
    done = init(shop, "--for", "prove", "--model", str(float_onnx))
    assert done.code == 0, done.err
    assert "[N, 1, 8, 8]" in done.out or "1, 8, 8]" in done.out
    found = Settings.read((), shop / "recipe.yaml", {}, {}, {"corruptions": False, "curve": True})
    assert found.data.root == shop / "goods.npz"
    assert (found.threat.norm, found.threat.eps, found.verify.samples) == ("Linf", 8 / 255, 12)


def test_a_template_to_gate_binds_the_gates_and_brings_the_files(shop: Path):
    done = init(shop, "--for", "gate")
    assert done.code == 0, done.err
    recipe = read_recipe(shop / "recipe.yaml")
    images = load_dataset(DataConfig.model_validate(recipe["data"])).digest  # as a build reads them
    assert recipe["gates"]["bound_to"] == {"norm": "Linf", "eps": "8/255", "dataset": images, "samples": 12}
    workflow = yaml.safe_load((shop / ".github" / "workflows" / "robustness.yml").read_text())
    asked = workflow["jobs"]["gate"]["steps"][1]["with"]
    assert asked == {"recipe": "recipe.yaml", "baseline": "baselines/goods.json", "location": "recipe.yaml"}
    (hook,) = yaml.safe_load((shop / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert "edgeproof gate runs/goods --baseline baselines/goods.json" in hook["entry"]
    one_line(init(shop, "--for", "gate"), 2, "recipe.yaml: exists already; --force overwrites it")
    (shop / "recipe.yaml").unlink()
    one_line(init(shop, "--for", "gate"), 2, "robustness.yml: exists already")
    assert not (shop / "recipe.yaml").exists()


def test_a_stage_command_prints_its_figures(shop: Path):
    assert init(shop, "--model", "shopnet:ShopNet").code == 0
    asked = [part for override in SHORT for part in ("--set", override)]
    done = edgeproof("export", "recipe.yaml", *asked, cwd=shop)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("teacher: validation accuracy ")
    assert lines[0].endswith(" KiB")
    assert lines[1].startswith("student: validation accuracy ")
    assert lines[2].startswith("export: logits differ from torch's by ")
    told = json.loads(edgeproof("export", "recipe.yaml", *asked, "--json", cwd=shop).out)
    assert told["figures"]["student"].keys() >= {"clean_accuracy", "pgd_accuracy", "epoch", "epochs", "size_bytes"}
