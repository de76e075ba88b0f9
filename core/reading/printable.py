"""Output sanitising: text from other people's files as text, on a terminal, in a log, in every report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# What XML 1.0 cannot hold at all (section 2.2), and the C1 controls and direction marks, by which a name could repaint
# or reorder the line that it is shown in.
_CONTROLS = (
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# What GitHub's and Azure's runners take for a command where a log line begins with it, or has it anywhere.
_COMMANDS = r":(?=:[A-Za-z-]+(?:\s[^:]*)?::)|#(?=#(?:\[|vso))"
_ESCAPED = re.compile(f"{_CONTROLS}|{_COMMANDS}")


def printable(text: object) -> str:
    r"""Return a text in which control characters, lone surrogates and direction marks stand as `\x1b`, `\u202e`.

    So does the first character of what a CI server's log would take for a command, such as `::error::`.
    """
    return _ESCAPED.sub(_escape, str(text))


def in_one_line(text: object) -> str:
    """Return a text on one line: as `printable`, and runs of white space are one space."""
    return " ".join(printable(text).split())


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return f"\\x{ord(character):02x}" if character in ":#" else character.encode("unicode_escape").decode()


def in_markdown(text: object) -> str:
    """Return a text that stays one in Markdown, in one line.

    What would end a cell, open a tag, a link or an emphasis is escaped; `code` is left.
    """
    return re.sub(r"\](?=[(\[])", r"]\\", re.sub(r"([\\|<*~])", r"\\\1", in_one_line(text)))


def texts_as(show: Callable[[object], str], data: Any) -> Any:
    """Return JSON-able data with every text and key as one of the functions above shows it."""
    if isinstance(data, Mapping):
        return {show(key): texts_as(show, value) for key, value in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [texts_as(show, value) for value in data]
    return show(data) if isinstance(data, str) else data
