"""The teacher's artifact is made again exactly when something that matters to it has changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from edgeproof.core.model_file import sha256_of
from edgeproof.pipeline.progress import Reporter
from edgeproof.pipeline.recipe.read import read_recipe
from edgeproof.pipeline.recipe.recipe import parse_recipe
from edgeproof.pipeline.run import RecipeRun
from edgeproof.pipeline.store.artifact import Artifact
from edgeproof.pipeline.store.store import Store
from edgeproof.stages.checkpoint import read_weights

ROOT = Path(__file__).parents[3]
STUDENT = ROOT / "tests" / "data" / "student.safetensors"


def stages(tmp_path: Path, *overrides: str) -> RecipeRun:
    raw = read_recipe(ROOT / "examples" / "digits.yaml", ["teacher.train=null", "teacher.model=null", *overrides])
    return RecipeRun(parse_recipe(raw, "digits.yaml"), Store(tmp_path / "run"), Reporter(quiet=True))


def teacher(tmp_path: Path, *overrides: str) -> Artifact:
    return stages(tmp_path, *overrides).networks.teacher()


def test_where_a_checkpoint_lies_does_not_matter_what_it_holds_does(tmp_path: Path):
    shutil.copy(STUDENT, tmp_path / "copy.safetensors")
    weights, _ = read_weights(STUDENT)
    weights["10.bias"] += 0.01
    torch.save(weights, tmp_path / "other.pt")
    one = teacher(tmp_path, f"teacher.checkpoint={STUDENT}")
    assert teacher(tmp_path, f"teacher.checkpoint={tmp_path / 'copy.safetensors'}").key == one.key
    assert teacher(tmp_path, f"teacher.checkpoint={tmp_path / 'other.pt'}", "teacher.model=cnn8_small").key != one.key


def test_the_normalisation_matters_and_a_pin_does_not(tmp_path: Path):
    given = f"teacher.checkpoint={STUDENT}"
    one = teacher(tmp_path, given)
    assert teacher(tmp_path, given, f"teacher.sha256={sha256_of(STUDENT)}").key == one.key
    normalized = teacher(tmp_path, given, "teacher.normalize={mean: [0.01], std: [1.0]}")
    assert normalized.key != one.key
    assert normalized.sha256("model.safetensors") != one.sha256("model.safetensors")


def test_the_weights_of_a_function_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It may read them from anywhere, so they are asked for."""
    source = tmp_path / "weights.pt"
    torch.save(read_weights(STUDENT)[0], source)
    (tmp_path / "pretrained_of_a_user.py").write_text(
        "import torch\n"
        "from edgeproof.stages.models import build_model\n\n"
        "def net(shape, classes):\n"
        "    model = build_model('cnn8_small', shape, classes, seed=0)\n"
        f"    model.load_state_dict(torch.load({str(source)!r}))\n"
        "    return model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = ("teacher.model=pretrained_of_a_user:net", "teacher.pretrained=true")
    one = teacher(tmp_path, *given)
    assert teacher(tmp_path, *given).key == one.key
    weights = torch.load(source)
    weights["10.bias"] += 0.01
    torch.save(weights, source)
    assert teacher(tmp_path, *given).key != one.key


def test_the_file_is_listed_as_read(tmp_path: Path):
    found = stages(tmp_path, f"teacher.checkpoint={STUDENT}")
    found.networks.teacher()
    assert found.artifacts.external() == {str(STUDENT): sha256_of(STUDENT)}


def test_the_package_of_a_familys_model_is_recorded(tmp_path: Path):
    made = teacher(tmp_path, f"teacher.checkpoint={STUDENT}", "student.model=torchvision/mnasnet0_5")
    assert "torchvision" in made.record["packages"]
    assert "torchvision" not in teacher(tmp_path, f"teacher.checkpoint={STUDENT}").record["packages"]
