"""Every command and every Python block of the documentation, run in order, page by page, as `docs_blocks.py` says."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from edgeproof.pipeline.recipe.read import read_recipe
from edgeproof.stages.data import Dataset

from tests.e2e.docs_blocks import COMMANDS, ELSEWHERE, ROOT, Block, blocks, pages
from tests.e2e.docs_runner import SMALL_RECIPE, Page, exit_code
from tests.shared import made_once

STUDENT = ROOT / "tests" / "data" / "student.safetensors"
# Pages whose commands a test of their own runs.
ELSEWHERE_TESTED = {
    "bundle.md": "tests/e2e/test_carried.py",
    "ci.md": "tests/e2e/test_ci_example.py",
    "device.md": "tests/e2e/test_carried.py",
}
ALL = {name: blocks(path) for name, path in pages().items()}
RUN = [
    name
    for name, found in ALL.items()
    if name not in ELSEWHERE_TESTED and any(block.title or block.language in (*COMMANDS, "python") for block in found)
]
NOT_RUN = [block for name, found in ALL.items() if name not in ELSEWHERE_TESTED for block in found if block.reason]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def prepared(float_onnx: Path, int8_onnx: Path, digits: Dataset) -> Path:
    """What the pages speak of: a small recipe and its finished run, two ONNX files, two checkpoints, some photos."""

    def prepare(folder: Path) -> None:
        _prepare(folder, float_onnx, int8_onnx, digits)

    return made_once("prepared", prepare)


def _prepare(folder: Path, float_onnx: Path, int8_onnx: Path, digits: Dataset) -> None:
    recipe = read_recipe(ROOT / "examples" / "digits.yaml", [*SMALL_RECIPE, "gates={clean_accuracy: '>= 0.1'}"])
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("EDGEPROOF_STORE", "")
        assert exit_code(["build", "recipe.yaml", "--workers", "1"]) in (0, 1, 4)
    for name in ("before", "after"):
        shutil.copytree(folder / "runs" / "digits", folder / "runs" / name)
    shutil.copy(folder / "runs" / "digits" / "teacher" / "model.safetensors", folder / "teacher.safetensors")
    shutil.copy(STUDENT, folder / "student.safetensors")
    shutil.copy(float_onnx, folder / "float.onnx")
    shutil.copy(int8_onnx, folder / "model.onnx")
    test = digits.test.take(slice(0, 8))
    np.savez(folder / "photos.npz", images=np.round(test.images * 255).astype(np.uint8), labels=test.labels)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in RUN])
def test_a_page_from_top_to_bottom(name: str, prepared: Path, tmp_path: Path):
    shutil.copytree(prepared, tmp_path / "here")
    page = Page(tmp_path / "here")
    for block in ALL[name]:
        page.run(block)


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: block.where)
def test_what_is_not_run_here(block: Block):
    """Listed among the skipped tests, with the reason that the page gives."""
    assert block.language == ELSEWHERE, "a block that is run needs no reason why not"
    pytest.skip(block.reason)


def test_nothing_is_left_out_without_a_reason():
    silent = [
        block.where
        for name, found in ALL.items()
        if name not in ELSEWHERE_TESTED
        for block in found
        if block.language == ELSEWHERE and not block.reason
    ]
    assert silent == []
    unknown = {block.where: block.language for found in ALL.values() for block in found if block.language not in SHOWN}
    assert unknown == {}


SHOWN = (*COMMANDS, ELSEWHERE, "python", "text", "yaml", "toml", "json", "xml")


def test_pages_that_are_tested_elsewhere():
    for name, test in ELSEWHERE_TESTED.items():
        if name in ALL:
            assert f'"{name}"' in (ROOT / test).read_text(), f"{test} does not speak of {name}"


def test_a_block_that_fails_is_seen(prepared: Path, tmp_path: Path):
    """The runner itself: a wrong option, a command that is none, and Python that raises."""
    shutil.copytree(prepared, tmp_path / "here")
    for language, text in (
        ("bash", "edgeproof report runs/digits --jsn"),
        ("bash", "edgeproof verify nothing.onnx --dataset digits --eps 0.1"),
        ("bash", "no-such-program"),
        ("python", "raise AssertionError('as documented')"),
    ):
        with pytest.raises(AssertionError):
            Page(tmp_path / "here").run(Block("page.md", 1, language, "", f"{text}\n", ""))
