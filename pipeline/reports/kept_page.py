"""Cached report page: the formats that are costly to draw, kept as artifacts of the run's store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from ..figures.table import modules
from ..results.report import Report
from ..store.artifact import Stage
from ..store.code_digest import folder_digest
from ..store.store import Store

# By file name: the module that draws it, and the packages that it draws with.
KEPT = {"report.html": ("edgeproof.pipeline.reports.html.page", ("jinja2", "matplotlib", "numpy", "pillow"))}


def kept(name: str, draw: Callable[[Report], str], report: Report, store: Store) -> str:
    """Return the text of a costly format, drawn only where the store has none of the same report and files.

    Args:
        name: the format's file name, one of `KEPT`.
        draw: the format.
        report: the report; its files must not be published yet.
        store: the run's.
    """
    code, packages = KEPT[name]
    inputs = {path: artifact.sha256(file) for path, (artifact, file) in report.files.view.items()}
    texts = {"report.json": report.text(), **report.files.texts}
    inputs |= {path: hashlib.sha256(text.encode()).hexdigest() for path, text in texts.items()}
    inputs["templates"] = folder_digest(Path(__file__).parent)  # and what registers itself: no import leads there
    stage = Stage("page", config={"format": name}, inputs=inputs, code=[code, *modules()], packages=packages)
    page = store.make(stage, lambda folder: (folder / name).write_text(draw(report), encoding="utf-8"))
    return page.path(name).read_text(encoding="utf-8")
