"""The house: who may know whom, and that what is installed is what stands here."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEVELS = ("core", "targets", "stages", "pipeline")  # each may import itself and what stands before it
FILES = sorted(path for level in LEVELS for path in (ROOT / level).rglob("*.py"))


# Folders of like things, one file each, which may be as many as there are: what their registries are filled from.
OF_LIKE_KIND = {
    "pipeline/reports",
    "stages/data/sets",
    "stages/distill/methods",
    "stages/distill/plugins",
    "stages/lint/rules",
    "stages/models",
    "stages/twin/ops",
    "stages/verify/checks",
    "stages/verify/routes",
}
SIDE_BY_SIDE = 16


def imports(path: Path, root: Path = ROOT) -> set[tuple[str, str]]:
    """Every import of a file, in whatever line: a module, relative ones resolved, and the name taken from it."""
    package = ["edgeproof", *path.relative_to(root).parent.parts]
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {(module, alias.name) for alias in node.names}
    return found


def imported(paths: Iterable[Path], root: Path = ROOT) -> dict[str, set[str]]:
    """What each module imports of the others, for types alone too."""
    modules = {
        ".".join(["edgeproof", *path.relative_to(root).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in paths
    }
    return {
        name: {inner if (inner := f"{module}.{taken}") in modules else module for module, taken in imports(path, root)}
        & modules.keys()
        for name, path in modules.items()
    }


def circles(left: Mapping[str, Set[str]]) -> list[str]:
    """Those that import one another, by whatever way round."""
    while True:
        # Who imports none of the rest, or is imported by none of it, is in no circle.
        inside = {name for name, to in left.items() if to & left.keys() - {name}}
        inside &= {name for importer, to in left.items() for name in to if name != importer}
        if inside == left.keys():
            return sorted(left)
        left = {name: left[name] for name in inside}


def rooms(modules: Mapping[str, Set[str]], packages: Set[str]) -> dict[str, set[str]]:
    """What each folder imports of folders that lie neither in it nor around it."""
    found: dict[str, set[str]] = {}
    for name, to in modules.items():
        here = name if name in packages else name.rpartition(".")[0]
        others = {each if each in packages else each.rpartition(".")[0] for each in to}
        apart = {
            each for each in others if not f"{each}.".startswith(f"{here}.") and not f"{here}.".startswith(f"{each}.")
        }
        found.setdefault(here, set()).update(apart)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_imports_point_one_way(level: str):
    above = LEVELS[LEVELS.index(level) + 1 :]
    for path in (path for path in FILES if path.relative_to(ROOT).parts[0] == level):
        for name, _ in imports(path):
            assert not name.startswith(tuple(f"edgeproof.{other}" for other in above)), f"{path}: {name}"
            assert name.split(".")[0] not in LEVELS, f"{path}: {name}: bare import of our own package"
            assert name != "edgeproof", f"{path}: the face is for users"


def test_the_direction_test_sees_a_wrong_import():
    assert "edgeproof.core.errors" in {module for module, _ in imports(ROOT / "targets" / "base.py")}


def test_no_modules_import_one_another():
    assert circles(imported(FILES)) == []


def test_no_rooms_import_one_another():
    packages = {".".join(["edgeproof", *path.relative_to(ROOT).parent.parts]) for path in FILES}
    found = rooms(imported(FILES), packages)
    # A precision that is measured attacks and times what the other precisions make.
    found["edgeproof.stages.quantize.precisions"].remove("edgeproof.stages.mixed")
    assert circles(found) == []


def test_the_circle_test_sees_a_circle(tmp_path: Path):
    (tmp_path / "core").mkdir()
    texts = {
        "a": "from .b import thing",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .c import other",
        "c": "def late():\n    from . import a",
        "d": "from .a import thing",
    }
    for name, text in texts.items():
        (tmp_path / "core" / f"{name}.py").write_text(text)
    paths = sorted(tmp_path.rglob("*.py"))
    assert circles(imported(paths, tmp_path)) == ["edgeproof.core.a", "edgeproof.core.b", "edgeproof.core.c"]
    (tmp_path / "core" / "c.py").write_text("")
    assert circles(imported(paths, tmp_path)) == []


def test_the_circle_test_sees_a_circle_of_rooms():
    modules = {
        "p.a.one": {"p.b.two"},
        "p.b.two": set(),
        "p.b.other": {"p.a.third"},
        "p.a.third": {"p.a", "p.x"},
        "p.x": set(),
    }
    found = rooms(modules, {"p", "p.a", "p.b"})
    assert found == {"p.a": {"p.b"}, "p.b": {"p.a"}, "p": set()}
    assert circles(found) == ["p.a", "p.b"]


def test_a_newcomer_can_look_over_every_room():
    for folder in {path.parent for path in FILES}:
        name = str(folder.relative_to(ROOT))
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert name in OF_LIKE_KIND or len(modules) <= SIDE_BY_SIDE, f"{name}: {len(modules)} modules side by side"


@pytest.mark.parametrize("name", sorted(OF_LIKE_KIND))
def test_rooms_of_like_kind_stand(name: str):
    assert (ROOT / name).is_dir()


def test_every_module_says_what_it_is():
    for path in [*FILES, *(ROOT / "edgeproof").glob("*.py")]:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_the_face_knows_commands_alone_and_imports_them_when_they_are_called():
    for path in (ROOT / "edgeproof").glob("*.py"):
        tree = ast.parse(path.read_text())
        at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {name for node in at_once for name in _of(node)}
        allowed = {"edgeproof.pipeline.cli.main"} if path.name == "__main__.py" else set[str]()
        assert {name for name in names if name.startswith("edgeproof")} <= allowed
        assert names & {"torch", "numpy", "onnx", "pydantic"} == set()


def _of(node: ast.Import | ast.ImportFrom) -> set[str]:
    return {alias.name for alias in node.names} if isinstance(node, ast.Import) else {node.module or ""}


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
