"""Recipes that init writes: whatever things are called, they are read back so; files of CI lie where CI looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.commands.init import write_starter
from edgeproof.pipeline.recipe.read import read_recipe

NAMES = ("null", "true", "2024", "1e3", "da ta: #1", "x:", "new\nline: 1", "- d", "~t", "'", '"', "é", "a\tb", "{}")


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (40, 1, 8, 8), np.uint8), np.arange(40) % 4
    path = tmp_path / "images.npz"
    np.savez(path, images=images[:20], labels=labels[:20], train_images=images[20:], train_labels=labels[20:])
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_back_as_it_was_given(name: str, arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    given = arrays.rename(tmp_path / f"{name}.npz")
    write_starter(Path("recipe.yaml"), data=f"./{given.name}")
    raw = read_recipe(Path("recipe.yaml"))
    assert raw["data"]["dataset"] == str(given)
    assert isinstance(raw["name"], str)
    lines = Path("recipe.yaml").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines if line[:1].isalpha()] == [*raw]


def test_gates_are_bound_to_the_images_and_not_to_their_kind(arrays: Path, tmp_path: Path):
    write_starter(tmp_path / "recipe.yaml", "gate", data=str(arrays))
    bound = read_recipe(tmp_path / "recipe.yaml")["gates"]["bound_to"]
    assert len(bound["dataset"]) >= 64


def test_files_of_ci_lie_at_the_repositorys_root(arrays: Path, tmp_path: Path):
    (tmp_path / ".git").mkdir()
    recipe = tmp_path / "deep" / "my: recipe #1.yaml"
    recipe.parent.mkdir()
    written = write_starter(recipe, "gate", data=str(arrays))
    workflow = tmp_path / ".github" / "workflows" / "robustness.yml"
    assert {*written.files} == {recipe, workflow, tmp_path / ".pre-commit-config.yaml"}
    _, gate = yaml.safe_load(workflow.read_text())["jobs"]["gate"]["steps"]
    assert (gate["uses"], gate["with"]["recipe"]) == ("./tools/edgeproof", "deep/my: recipe #1.yaml")


def test_what_cannot_be_written_leaves_nothing(arrays: Path, tmp_path: Path):
    (tmp_path / ".github").touch()
    with pytest.raises(UsageError, match=r"robustness\.yml: cannot be written"):
        write_starter(tmp_path / "recipe.yaml", "gate", data=str(arrays))
    assert not (tmp_path / "recipe.yaml").exists()
