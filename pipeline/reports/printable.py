"""Output sanitising: text from other people's files without control characters or stray line breaks."""

from __future__ import annotations

import re

# What XML 1.0 cannot hold at all (section 2.2), and the C1 controls and direction marks, by which a name could repaint
# or reorder the line that it is shown in.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def printable(text: object) -> str:
    r"""Return a text in which control characters, lone surrogates and direction marks stand as `\x1b`, `\u202e`."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def in_one_line(text: object) -> str:
    """Return a text on one line: as `printable`, and runs of white space are one space."""
    return " ".join(printable(text).split())
