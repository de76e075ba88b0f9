"""The page of foreign files: every command prints what stands below it, from the refusal to the verdict."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.docs_blocks import Block, blocks, pages
from tests.e2e.docs_runner import SMALLER, Page
from tests.e2e.vendor import FILES

PAGE = blocks(pages()["foreign-files.md"])
CASES = [each for each in PAGE if each.language == "console"]
# What a refusal, an open verdict and a measurement exit with.
CODES = {"edgeproof:": 2, "INCONCLUSIVE": 4, "MEASURED": 0}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(float_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("foreign")
    shutil.copy(float_onnx, here / "float.onnx")
    (here / "recipe.yaml").touch()
    for name, made in FILES.items():
        made(here / "float.onnx", here / name)
    return here


def test_there_are_twelve():
    assert len(CASES) - 1 == 12, "the last in two parts"


@pytest.mark.parametrize("case", [pytest.param(each, id=each.where) for each in CASES])
def test_from_refusal_to_verdict(case: Block, folder: Path):
    page = Page(folder)
    for each in PAGE:
        if each.title:
            page.run(each)
    commands: list[tuple[str, list[str]]] = []
    for line in case.text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    for command, lines in commands:
        verifies = command.startswith("edgeproof verify")
        done = page.typed(command, *((*SMALLER["verify"], "--no-curve") if verifies else ()))
        said = " ".join(f"{done.stdout} {done.stderr}".split())
        for line in lines:
            assert line in said, f"{command}\n{done.stdout}\n{done.stderr}"
        if verifies:
            assert done.returncode == next(code for word, code in CODES.items() if word in f"{lines[0]} {lines[-1]}")
    assert commands[-1][1][-1].endswith(": MEASURED: no gate was asked for")
