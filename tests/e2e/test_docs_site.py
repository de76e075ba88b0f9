"""The pages as a whole: links lead somewhere, the reference is current, the site builds and fetches nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.docs_blocks import ROOT, pages, prose

PAGES = pages()
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+?)\s*$", re.MULTILINE)
# What a browser fetches by itself, as against what a reader may follow.
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source|link(?![^>]*rel=\"?canonical))[^>]*?(?:src|href)=\"?(?:https?:)?//[^\s>]+"
)
_FETCHED_BY_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]+")


def anchors(page: Path) -> dict[str, str]:
    """The anchors of a page's headings, as GitHub and as mkdocs make them."""
    found: dict[str, str] = {}
    for title in _HEADING.findall(prose(page)):
        plain = re.sub(r"[`*]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)).strip().lower()
        words = re.sub(r"[^\w\s-]", "", plain)
        found[words.replace(" ", "-")] = re.sub(r"[-\s]+", "-", words)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str):
    page = PAGES[name]
    broken: list[str] = []
    for target in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists() or ROOT not in there.parents:
            broken.append(target)
        elif anchor and anchors(there).get(anchor) != anchor:
            broken.append(f"{target}: no such heading, or one whose anchor is another on the site")
    assert broken == []


def test_every_page_is_in_the_navigation():
    listed = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= set(listed)


def test_the_reference_is_current():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None or find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed (extra `docs`)")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_fetches_nothing(site: Path):
    assert (site / "index.html").is_file()
    fetched = [
        f"{path.name}: {match}"
        for pattern, kind in ((_FETCHED, "html"), (_FETCHED_BY_CSS, "css"))
        for path in site.rglob(f"*.{kind}")
        for match in pattern.findall(path.read_text(encoding="utf-8"))
    ]
    assert fetched == []


def test_what_would_be_fetched_is_seen():
    assert _FETCHED.search('<link rel="stylesheet" href="https://fonts.example/css">')
    assert _FETCHED.search("<script src=//cdn.example/a.js></script>")
    assert _FETCHED_BY_CSS.search("src: url(https://fonts.example/a.woff2)")
    assert not _FETCHED.search('<a href="https://example.org/">')
