"""The HTML pages in a real browser: nothing leaves the file, all is reachable and readable in every theme and size."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import edgeproof

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the extra `dev`)")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def comparison(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("compared") / "comparison.html"
    done = edgeproof("compare", run, run, "--html", page)
    assert done.code == 0, done.err
    return page


class Opened:
    """A page with all that was said on its console and all that it asked for."""

    def __init__(
        self, browser: Any, file: Path, *, scheme: str = "light", viewport: dict[str, int] | None = None
    ) -> None:
        self.context = browser.new_context(color_scheme=scheme, viewport=viewport or DESKTOP, accept_downloads=True)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("popup", lambda popup: self.asked.append(popup.url))
        self.page.goto(file.as_uri())

    def unfold(self) -> None:
        self.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.fixture(params=["report", "comparison"])
def file(request: pytest.FixtureRequest, run: Path) -> Path:
    return run / "report.html" if request.param == "report" else request.getfixturevalue("comparison")


def test_nothing_is_asked_for_but_the_file_and_nothing_is_wrong(browser: Any, file: Path):
    with Opened(browser, file) as opened:
        opened.page.route(re.compile("^(?!file:|data:)"), lambda route: route.abort())
        opened.page.reload()
        opened.unfold()
        opened.page.locator("#theme").click()
        opened.page.wait_for_timeout(200)
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [file.as_uri()] * 2
        # The page's own policy forbids it too: even a script that asked would get nothing.
        blocked = opened.page.evaluate("fetch('https://example.org/').then(() => 'loaded', () => 'blocked')")
        assert blocked == "blocked"


@pytest.mark.parametrize(
    ("scheme", "viewport"), [("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE), ("dark", PHONE)]
)
def test_axe_finds_nothing(browser: Any, file: Path, scheme: str, viewport: dict[str, int]):
    with Opened(browser, file, scheme=scheme, viewport=viewport) as opened:
        opened.unfold()
        found = axe.Axe().run(opened.page)
        assert found.violations_count == 0, found.generate_report()
        assert len(found.response["passes"]) > 10, "axe looked"


def test_axe_would_see_a_pale_text(browser: Any, run: Path):
    with Opened(browser, run / "report.html") as opened:
        opened.page.evaluate("document.querySelector('h2').style.color = '#dddddd'")
        assert "color-contrast" in {each["id"] for each in axe.Axe().run(opened.page).response["violations"]}


def test_a_phone_shows_it_without_scrolling_sideways(browser: Any, file: Path):
    with Opened(browser, file, viewport=PHONE) as opened:
        opened.unfold()
        wide = opened.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide == [390, 390]
        sizes = opened.page.evaluate(
            "[...document.querySelectorAll('.drawing text')].map(text => text.getBoundingClientRect().height)"
        )
        assert min(sizes) > 7, "drawings stay legible"


def test_the_keyboard_reaches_theme_details_and_downloads(browser: Any, run: Path):
    with Opened(browser, run / "report.html") as opened:
        page = opened.page
        seen: list[str] = []
        for _ in range(400):
            page.keyboard.press("Tab")
            kind = page.evaluate(
                "(e => e === document.body ? '' : e.id === 'theme' ? 'theme' : e.dataset.drawing ? 'svg'"
                " : e.hasAttribute('download') ? 'csv' : e.tagName === 'SUMMARY' ? 'details' : 'other')"
                "(document.activeElement)"
            )
            if not kind and len(seen) > 3:
                break
            if kind == "theme":
                background = page.evaluate("getComputedStyle(document.body).backgroundColor")
                page.keyboard.press("Enter")  # light
                page.keyboard.press("Enter")  # dark
                assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background
                assert page.locator("#theme").text_content() == "Theme: dark"
            if kind == "details" and "details" not in seen:
                page.keyboard.press("Enter")
                assert page.evaluate("document.activeElement.parentElement.open")
            seen.append(kind)
        plots = page.locator(".plot").count()
        assert plots > 4
        assert seen.count("svg") == plots
        assert seen.count("csv") >= plots
        assert {"theme", "details"} <= {*seen}


def test_every_drawing_and_its_numbers_can_be_downloaded(browser: Any, run: Path, tmp_path: Path):
    with Opened(browser, run / "report.html", scheme="dark") as opened:
        for plot in opened.page.locator(".plot").all():
            files = []
            for button in (plot.locator("button[data-drawing]"), plot.locator("figcaption a[download]")):
                with opened.page.expect_download() as downloading:
                    button.click()
                files.append(tmp_path / downloading.value.suggested_filename)
                downloading.value.save_as(files[-1])
            svg, table = (path.read_text() for path in files)
            assert (files[0].suffix, files[1].suffix) == (".svg", ".csv")
            assert "var(--" not in svg, "a drawing alone has its colours in it"
            assert table.count("\n") > 1
            opened.page.wait_for_timeout(300)  # Chromium lets about ten downloads a second begin
        # It is a picture by itself.
        lone = opened.context.new_page()
        lone.goto(files[0].as_uri())
        assert lone.evaluate("document.documentElement.getBBox().width") > 100


def test_the_choice_of_theme_stays(browser: Any, run: Path):
    with Opened(browser, run / "report.html") as opened:
        opened.page.locator("#theme").click()
        opened.page.reload()
        assert opened.page.locator("#theme").text_content() == "Theme: light"
        opened.page.emulate_media(color_scheme="dark")
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_print_is_on_white_and_without_buttons(browser: Any, run: Path):
    with Opened(browser, run / "report.html", scheme="dark") as opened:
        opened.page.emulate_media(media="print")
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not opened.page.locator("#theme").is_visible()
        assert opened.page.locator("#verdict").is_visible()
