"""Pages of every verdict with one, two and five engines in a real browser: whole on a phone, no label over another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from edgeproof.pipeline.reports.html.page import page
from edgeproof.pipeline.results.report import Report

from tests.e2e.test_html_report import CHROMIUM, PHONE, Opened, axe, browser  # noqa: F401
from tests.pipeline.reports.html_runs import BUILD, write_run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")]

NETWORKS = BUILD[:2]
TARGETS = ("onnxruntime", "openvino", "executorch", "tensorrt", "torch_tensorrt")
ENGINES = {count: tuple((name, [1, 2, 3], {"retention": 1.0}) for name in TARGETS[:count]) for count in (1, 2, 5)}
VERDICTS: dict[str, dict[str, Any]] = {
    "pass": {"gates": ("robust_accuracy >= 0.5", "clean_accuracy >= 0.5", "retention >= 0.5")},
    "fail": {"gates": ("robust_accuracy >= 0.99", "size_bytes <= 100000")},
    "inconclusive": {
        "doubts": ("onnxruntime: huge-eps: 3 of 4 samples survive an eps at which nothing can be robust",)
    },
    "measured": {"gates": ()},
}
# Of two texts of a drawing that lie over each other by more than a rounding error.
OVERLAPS = """[...document.querySelectorAll('.drawing')].flatMap(drawing => {
    const texts = [...drawing.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
    return texts.flatMap(([one, a], place) => texts.slice(place + 1).filter(([_, b]) =>
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2).map(([other]) => one + ' | ' + other));
})"""
# Of what a phone's gates show: whether every cell lies on the screen, and what it says.
GATES = """[...document.querySelectorAll('table[aria-label=Gates] tbody tr')].map(row =>
    [...row.cells].filter(cell => cell.textContent).map(cell => [cell.dataset.column || 'gate', cell.textContent.trim(),
        cell.getBoundingClientRect().right <= window.innerWidth && cell.getBoundingClientRect().height > 0]))"""


@pytest.fixture(
    params=[(count, verdict) for count in ENGINES for verdict in VERDICTS], ids=lambda each: f"{each[1]}-{each[0]}"
)
def drawn(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Report]:
    """The page of a run with so many engines and this verdict."""
    count, verdict = request.param
    run = write_run(tmp_path / "run", (*NETWORKS, *ENGINES[count]), **VERDICTS[verdict])
    report = Report.load(run / "report.json")
    assert report.data["verdict"] == verdict
    (run / "report.html").write_text(page(report))
    return run / "report.html", report


def test_every_verdict_is_whole_in_every_theme_and_size(browser: Any, drawn: tuple[Path, Report]):  # noqa: F811
    file, report = drawn
    with Opened(browser, file, scheme="dark", viewport=PHONE) as opened:
        opened.unfold()
        assert opened.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        for gate, told in zip(report.data["gates"], opened.page.evaluate(GATES), strict=True):
            assert all(seen for _, _, seen in told), told
            cells = {column: text for column, text, _ in told}
            assert cells["gate"] == gate["name"]
            assert {"value", "limit", *(["95 % interval"] if gate["ci"] else [])} <= {*cells}
        found = axe.Axe().run(opened.page)
        assert found.violations_count == 0, found.generate_report()
        opened.page.emulate_media(color_scheme="light")
        opened.page.set_viewport_size({"width": 1200, "height": 900})
        assert opened.page.evaluate(OVERLAPS) == []
        found = axe.Axe().run(opened.page)
        assert found.violations_count == 0, found.generate_report()
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [file.as_uri()]
        words = report.data["verdict"].upper()
        assert words in (opened.page.locator("#verdict").text_content() or "")
        assert "`" not in opened.page.locator("main").inner_text()
        assert " 1 samples" not in opened.page.locator("main").inner_text()
