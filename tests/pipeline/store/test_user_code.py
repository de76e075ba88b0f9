"""The user's own code that a recipe names: found without importing it, and any change of it noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from edgeproof.pipeline.commands.build import _request
from edgeproof.pipeline.recipe.read import read_recipe
from edgeproof.pipeline.store.user_code import function_modules, functions_digest

DIGITS = Path(__file__).parents[3] / "examples" / "digits.yaml"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package and two modules of a user's, in the working directory."""
    package = tmp_path / "my_package"
    (package / "deep").mkdir(parents=True)  # a namespace package: no __init__.py
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    (package / "models.py").write_text("import torch\nfrom .deep import layers\n\ndef net(shape, classes): ...\n")
    (package / "deep" / "layers.py").write_text("WIDTH = 8\n")
    (tmp_path / "my_data.py").write_text("import json\nfrom my_helpers import read\n\ndef load(config): ...\n")
    (tmp_path / "my_helpers.py").write_text("def read(): ...\n")
    (tmp_path / "unrelated.py").write_text("\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_functions_modules_and_what_they_import_of_the_users_own(mine: Path):
    recipe = {"data": {"dataset": "my_data:load"}, "student": {"model": "my_package.models:net"}, "targets": ["x"]}
    assert function_modules(recipe) == {
        "my_data": mine / "my_data.py",
        "my_helpers": mine / "my_helpers.py",
        "my_package.deep.layers": mine / "my_package" / "deep" / "layers.py",
        "my_package.models": mine / "my_package" / "models.py",
    }


@pytest.mark.parametrize("file", ["my_data.py", "my_helpers.py", "my_package/models.py", "my_package/deep/layers.py"])
def test_a_change_is_another_request(mine: Path, file: str):
    overrides = ["data.dataset=my_data:load", "student.model=my_package.models:net"]
    raw = read_recipe(DIGITS, overrides)
    before = _request(raw)
    assert _request(read_recipe(DIGITS, overrides)) == before
    (mine / "unrelated.py").write_text("WIDTH = 9\n")
    assert _request(raw) == before
    (mine / file).write_text((mine / file).read_text() + "# changed\n")
    assert _request(raw) != before


def test_another_place_of_the_data_is_another_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EDGEPROOF_DATA", raising=False)
    requests = {
        _request(read_recipe(DIGITS)),
        _request(read_recipe(DIGITS, data_root=tmp_path)),
        _request(read_recipe(DIGITS, [f"data.root={tmp_path / 'other'}"])),
    }
    monkeypatch.setenv("EDGEPROOF_DATA", str(tmp_path))
    assert len(requests | {_request(read_recipe(DIGITS))}) == 4


def test_nothing_of_the_users_is_imported_nor_torch(mine: Path):
    code = (
        "import sys; from edgeproof.pipeline.store.user_code import functions_digest\n"
        "digest = functions_digest({'model': 'my_package.models:net', 'dataset': 'my_data:load'})\n"
        "print(len(digest), {'torch', 'my_package', 'my_data'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=mine)
    assert done.stdout == "64 set()\n"


@pytest.mark.parametrize(
    "value", ["digits", "no_such_module_of_anybody:load", "8/255", {"gates": {"retention": ">= 0.97"}}, None, 3]
)
def test_recipes_without_functions(value: object):
    assert function_modules(value) == {}
    assert functions_digest(value) == ""


def test_installed_packages_are_not_followed_into_others():
    """pytest's folder holds every installed package."""
    found = function_modules("_pytest.python:Function")
    assert "_pytest.python" in found
    assert all(name.partition(".")[0] == "_pytest" for name in found)


def test_a_module_that_does_not_parse_is_left_to_its_import(mine: Path):
    (mine / "my_data.py").write_text("def load(:\n")
    assert list(function_modules("my_data:load")) == ["my_data"]
