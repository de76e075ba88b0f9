"""SVG embedding: drawings of matplotlib whose colours are the page's and whose text stays text."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

# Inches; one is 72 units of the drawing, so that a phone shows 360 of them at nearly their own size.
WIDTH = 5.0
# Colours that nobody would use, and the page's variables that they stand for.
INK, MUTED, GRID, PAPER = "#010101", "#010102", "#010103", "#010104"
SERIES = tuple(f"#0202{number:02x}" for number in range(1, 9))
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--rule", PAPER: "--paper"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, 1)
}
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h")
_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgeproof",
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "figure.constrained_layout.use": True,
    "axes.unicode_minus": True,
}


@contextmanager
def drawing(height: float) -> Iterator[Figure]:
    """An empty figure of a height in inches, in the page's style."""
    with rc_context(_STYLE):
        yield Figure(figsize=(WIDTH, height))


def finished(figure: Figure, name: str, title: str) -> str:
    """Return a figure as an `<svg>` element.

    Args:
        figure: drawn in the colours above.
        name: prefix of its ids, unique on the page.
        title: what a screen reader says of it.
    """
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(out.getvalue())
    for child in list(root):
        if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}defs") and not child.findall(f"{{{_SVG}}}clipPath"):
            root.remove(child)
    for element in root.iter():
        _own(element, name)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("class", "drawing")
    ET.register_namespace("", _SVG)
    return re.sub(r"#0[12]0[12]0[0-9a-f]", lambda found: f"var({_VARIABLES[found[0]]})", ET.tostring(root, "unicode"))


def _own(element: Any, name: str) -> None:
    """Give an element ids of its own on the page, and links as HTML knows them."""
    attributes = element.attrib
    if link := attributes.pop(f"{{{_LINK}}}href", None):
        attributes["href"] = f"#{name}-{link.removeprefix('#')}"
    if "id" in attributes:
        attributes["id"] = f"{name}-{attributes['id']}"
    if "clip-path" in attributes:
        attributes["clip-path"] = attributes["clip-path"].replace("url(#", f"url(#{name}-")
    # The page's font, whatever is there; sizes stay.
    if "font:" in (style := attributes.get("style", "")):
        attributes["style"] = re.sub(r"font: ([\d.]+px) [^;]*", r"font-size: \1", style)
