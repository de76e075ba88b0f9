"""One new file of every kind in a package, as docs/extending.md shows it: each is found wherever its kind is shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.docs_blocks import blocks, pages
from tests.e2e.docs_runner import Page

# Kind, as `edgeproof list` calls it, to the name of the page's entry.
MINE = {
    "methods": "logit_pairing",
    "plugins": "capped",
    "datasets": "bars",
    "models": "tiny",
    "targets": "torch_cpu",
    "norms": "rim_linf",
    "precisions": "trimmed",
    "routes": "brightness",
    "checks": "saturated",
    "figures": "clean_errors",
    "reports": "subjects.csv",
}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("house")]


@pytest.fixture(scope="module")
def page(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page from top to bottom: its package installed, its recipe built."""
    here = tmp_path_factory.mktemp("house") / "here"
    shutil.copytree(prepared, here)
    page = Page(here)
    for block in blocks(pages()["extending.md"]):
        page.run(block)
    return page


@pytest.fixture(scope="module")
def report(page: Page) -> dict[str, Any]:
    return json.loads((page.folder / "runs" / "mine" / "report.json").read_text())


@pytest.fixture(scope="module")
def engine(report: dict[str, Any]) -> dict[str, Any]:
    (found,) = [subject for subject in report["subjects"] if subject["name"] == MINE["targets"]]
    return found


def test_every_kind_is_one_file_of_the_package(page: Page):
    files = {path.stem for path in (page.folder / "mine").glob("*.py")}
    kinds = {kind.removesuffix("s") for kind in MINE} - {"dataset"} | {"data"}
    assert files == kinds


def test_the_list_names_each_with_a_line_and_where_it_is_from(page: Page):
    listed = page.edgeproof("list", "--json")
    kinds = {entry["name"]: entry for entry in json.loads(listed)}
    assert set(MINE) <= set(kinds)
    for kind, name in MINE.items():
        entries = {entry["name"]: entry for entry in json.loads(page.edgeproof("list", kind, "--json"))}
        assert "edgeproof-mine" in json.dumps(entries[name]), (kind, entries[name])
        assert len(entries) > 1, f"ours are {kind} as well"


def test_the_report_has_what_each_came_to(report: dict[str, Any], engine: dict[str, Any]):
    assert report["threat_model"]["norm"] == MINE["norms"]
    assert report["dataset"]["name"] == MINE["datasets"]
    assert engine["precision"] == MINE["precisions"]
    assert MINE["routes"] in engine["routes"]
    assert engine["checks"][MINE["checks"]]["answers_seen"] == engine["samples"]
    gates = {gate["name"]: gate for gate in report["gates"]}
    wrong = round(engine["samples"] * (1 - engine["clean_accuracy"]))
    assert gates["clean_errors"]["value"] == max(
        round(each["samples"] * (1 - each["clean_accuracy"])) for each in report["subjects"] if each["kind"] == "engine"
    )
    assert wrong <= gates["clean_errors"]["value"]
    assert gates["brightness_agreement"]["value"] is not None


def test_the_page_shows_each(page: Page):
    run = page.folder / "runs" / "mine"
    html = (run / "report.html").read_text()
    for kind in set(MINE) - {"reports"}:
        assert MINE[kind] in html or _words(kind) in html, kind
    assert "with a probability of one" in html, "the check's own row"
    assert "clean errors" in (run / "metrics.txt").read_text()


def test_the_format_is_written_beside_ours(page: Page, report: dict[str, Any]):
    lines = (page.folder / "runs" / "mine" / "subjects.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["name", *(subject["name"] for subject in report["subjects"])]


def _words(kind: str) -> str:
    return {"checks": "clean images answered", "figures": "clean errors"}.get(kind, "\0")
