"""The house: who may know whom, and that what is installed is what stands here."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEVELS = ("core", "targets", "stages", "pipeline")  # each may import itself and what stands before it
FILES = sorted(path for level in LEVELS for path in (ROOT / level).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The absolute names of all modules that a file imports, relative imports resolved."""
    package = ["edgeproof", *path.relative_to(ROOT).parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            found.add(".".join([*base, *([node.module] if node.module else [])]))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path):
    level = path.relative_to(ROOT).parts[0]
    above = LEVELS[LEVELS.index(level) + 1 :]
    for name in imported(path):
        assert not name.startswith(tuple(f"edgeproof.{other}" for other in above)), name
        assert name.split(".")[0] not in LEVELS, f"{name}: bare import of our own package"


def test_the_direction_test_sees_a_wrong_import(tmp_path: Path):
    wrong = ROOT / "targets" / "base.py"
    assert "edgeproof.core.errors" in imported(wrong), "relative imports must be resolved for the test to mean much"


def test_every_folder_is_a_listed_package():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    standing = {"edgeproof"} | {
        "edgeproof." + ".".join(path.parent.relative_to(ROOT).parts)
        for level in LEVELS
        for path in (ROOT / level).rglob("__init__.py")
    }
    assert listed == standing


@pytest.mark.parametrize("level", LEVELS)
def test_packages_are_typed(level: str):
    assert (ROOT / level / "py.typed").is_file()


def test_pins_name_versions_and_no_addresses():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, separator, version = line.partition("==")
        assert separator, line
        assert name, line
        assert version, line
        assert "/" not in line, line


def test_no_package_exports_a_name_that_is_a_submodule_of_its_own():
    """Loading the submodule later would silently replace a name that comes from elsewhere."""
    for path in (path for level in LEVELS for path in (ROOT / level).rglob("__init__.py")):
        tree = ast.parse(path.read_text())
        names = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
            if alias.name != node.module  # the submodule itself is loaded by this very import
        }
        submodules = {entry.stem for entry in path.parent.iterdir() if entry.suffix == ".py" or entry.is_dir()}
        assert not names & submodules, path
