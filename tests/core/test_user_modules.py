"""Modules beside a recipe: found by their file, with what they import beside them, and nobody else's place taken."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.core.function import load_function
from edgeproof.core.process_pool import finished
from edgeproof.core.user_modules import modules_beside
from edgeproof.pipeline.store.code_digest import code_digest
from edgeproof.pipeline.store.user_code import function_modules, functions_digest


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe's folder with a module and what it imports, and a working directory elsewhere."""
    folder, elsewhere = tmp_path / "shop", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "shopnet.py").write_text("import shoplayers\n\n\ndef width():\n    return shoplayers.WIDTH\n")
    (folder / "shoplayers.py").write_text("WIDTH = 3\n")
    (folder / "colorsys.py").write_text("raise SystemExit('nobody asked for me')\n")
    monkeypatch.chdir(elsewhere)
    return folder


def answer(spec: str) -> object:
    return load_function(spec, "model")()


def test_a_module_beside_is_found_with_its_neighbour_and_pythons_path_stays(shop: Path):
    path = sys.path[:]
    with modules_beside(shop):
        assert answer("shopnet:width") == 3
        import colorsys

        assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)
    assert sys.path == path
    assert not {"shopnet", "shoplayers"} & set(sys.modules)
    with pytest.raises(UsageError, match=r"No module named 'shopnet'; there is none installed, nor in the working dir"):
        load_function("shopnet:width", "model")


def test_a_file_that_is_called_as_an_installed_module_is_refused(shop: Path):
    with (
        modules_beside(shop),
        pytest.raises(UsageError, match=r"model 'colorsys:f': .*shop/colorsys.py and the installed .* one name"),
    ):
        load_function("colorsys:f", "model")


def test_in_the_working_directory_the_installed_module_wins(shop: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(shop)
    assert load_function("colorsys:hsv_to_rgb", "model")(0, 0, 0) == (0, 0, 0)


def test_what_a_module_names_of_an_installed_one_is_the_installed_one(shop: Path):
    (shop / "shoplayers.py").write_text("import colorsys\n\nWIDTH = colorsys.hsv_to_rgb(0, 0, 0)\n")
    with modules_beside(shop):
        assert answer("shopnet:width") == (0, 0, 0)


def test_a_module_that_changed_and_one_of_another_folder_are_imported_anew(shop: Path, tmp_path: Path):
    with modules_beside(shop):
        assert answer("shopnet:width") == 3
    (shop / "shoplayers.py").write_text("WIDTH = 41234\n")
    with modules_beside(shop):
        assert answer("shopnet:width") == 41234
        other = tmp_path / "elsewhere"
        (other / "shopnet.py").write_text("def width():\n    return 'other'\n")
        with modules_beside(other):
            assert answer("shopnet:width") == "other"
        assert answer("shopnet:width") == 41234


def test_every_neighbour_that_is_imported_counts_in_the_digests(shop: Path):
    with modules_beside(shop):
        assert list(function_modules("shopnet:width")) == ["shoplayers", "shopnet"]
        before = functions_digest("shopnet:width"), code_digest(*function_modules("shopnet:width"))
        (shop / "shoplayers.py").write_text("WIDTH = 4\n")
        after = functions_digest("shopnet:width"), code_digest(*function_modules("shopnet:width"))
        assert before[0] != after[0]
        assert before[1] != after[1]
    assert functions_digest("shopnet:width") == ""


def test_workers_find_it_and_forget_it(shop: Path, tmp_path: Path):
    jobs = [partial(answer, "shopnet:width")] * 4
    with modules_beside(shop):
        assert {result for _, result in finished(jobs, 2, what="widths")} == {3}
    other = tmp_path / "elsewhere"
    (other / "shopnet.py").write_text("def width():\n    return 'other'\n")
    with modules_beside(other):
        assert {result for _, result in finished(jobs, 2, what="widths")} == {"other"}


def test_an_error_names_the_line_of_the_users_file(shop: Path):
    (shop / "shoplayers.py").write_text("\nWIDTH = int('x')\n")
    with modules_beside(shop), pytest.raises(UsageError, match=r"invalid literal .*'x' \(shoplayers.py, line 2\)$"):
        load_function("shopnet:width", "model")
    (shop / "shoplayers.py").write_text("WIDTH = (\n")
    with modules_beside(shop), pytest.raises(UsageError, match=r"never closed .*\(shoplayers.py, line 1\)$"):
        load_function("shopnet:width", "model")
