"""What is published: a long description whose links lead somewhere, a source distribution with all that is needed."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
_TARGETS = re.compile(r"\]\(([^)\s]*)\)")


def described(source: str | None) -> str:
    return runpy.run_path(str(ROOT / "setup.py"))["long_description"](README, source, "0.1.0")


def test_without_an_address_no_link_and_no_picture_is_left_that_leads_into_the_repository():
    text = described(None)
    assert [target for target in _TARGETS.findall(text) if not target.startswith("#")] == []
    assert "Threat model and limits (`docs/threat-model.md`)" in text
    assert "*The quantized ONNX file is what ships" in text
    assert "<!--" not in text


def test_with_an_address_every_link_leads_to_a_file_of_this_version():
    text = described("https://example.org/mine")
    inside = [target.partition("#")[0] for target in _TARGETS.findall(README) if not target.startswith("#")]
    outside = [target.partition("#")[0] for target in _TARGETS.findall(text) if not target.startswith("#")]
    assert len(inside) > 30
    for there, here in zip(outside, inside, strict=True):
        assert (ROOT / here).exists()
        kind = "raw" if here.endswith(".svg") else "blob"
        assert there == f"https://example.org/mine/{kind}/v0.1.0/{here}"


def test_places_on_the_page_stay():
    assert "[target](#targets)" in described(None)


def test_the_source_distribution_names_what_there_is():
    listed = (ROOT / "MANIFEST.in").read_text()
    for folder in re.findall(r"^graft (\S+)$", listed, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder
    for name in ("docs", "examples", "tests", "templates", "benchmarks"):
        assert f"graft {name}\n" in listed
    assert "constraints.txt" in listed


def test_no_extra_brings_a_second_onnx_runtime_into_the_folder_of_the_first():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(line.startswith("onnxruntime>") for line in project["dependencies"])
    for name, lines in project["optional-dependencies"].items():
        for line in lines:
            assert not re.match(r"onnxruntime(-gpu|-openvino|-directml|-rocm|-qnn)?[>=<;~ ]", line), name


@pytest.mark.parametrize("file", ["Makefile", "README.md", "docs/ci.md", "templates/edgeproof-gate.yml"])
def test_nothing_is_installed_from_an_index_that_does_not_have_it(file: str):
    text = (ROOT / file).read_text()
    assert not re.search(r"pip install [^\n]*(?<![./\w])edgeproof(\[|\s|$)", text)
