"""Every command and every Python block of the documentation, run in order, page by page, as `docs_blocks.py` says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.docs_blocks import COMMANDS, ELSEWHERE, ROOT, Block, blocks, pages
from tests.e2e.docs_runner import Page

# Pages whose commands a test of their own runs.
ELSEWHERE_TESTED = {
    "bundle.md": "tests/e2e/test_carried.py",
    "ci.md": "tests/e2e/test_ci_example.py",
    "device.md": "tests/e2e/test_carried.py",
    "extending.md": "tests/e2e/test_house.py",
    "foreign-files.md": "tests/e2e/test_foreign_files.py",
}
ALL = {name: blocks(path) for name, path in pages().items()}
RUN = [
    name
    for name, found in ALL.items()
    if name not in ELSEWHERE_TESTED and any(block.title or block.language in (*COMMANDS, "python") for block in found)
]
NOT_RUN = [block for name, found in ALL.items() if name not in ELSEWHERE_TESTED for block in found if block.reason]

pytestmark = pytest.mark.slow


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
