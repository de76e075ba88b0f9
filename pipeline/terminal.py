"""Terminal that shows names from other people's files as text: no escape sequence, no workflow command."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ..core.reading.printable import printable

# Of verdicts and outcomes.
COLOURS = {"pass": "green", "measured": "cyan", "fail": "red", "inconclusive": "yellow"}


class Terminal(Console):
    """A console of rich's; what it is given to print comes out as `printable`, and rich's own styles as they are."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render in segments of printable text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
