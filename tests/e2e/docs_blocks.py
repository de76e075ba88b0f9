"""The fenced blocks of the documentation, and what their fences say of them.

```bash, ```console   run, line by line, in the page's folder
```sh                 typed elsewhere: not run, for a reason that stands above as <!-- not run: reason -->
```python             run, in one process a page
```python title="f"   written into the file f; so with every language
```yaml, ```text      shown
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Shown on the site as well, from the repository's root.
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
COMMANDS = ("bash", "console")
ELSEWHERE = "sh"
_FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<language>[\w-]*)(?: title=\"(?P<title>[^\"]+)\")?\s*$")
_INDENTED = "    "
_REASON = re.compile(r"^<!-- not run: (.+) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: the page's file name.
        line: of its fence, from 1.
        language: the fence's word, empty where it has none.
        title: the file that it is written into, empty where it is none.
        text: its content.
        reason: why it is not run, empty where nobody says.
    """

    page: str
    line: int
    language: str
    title: str
    text: str
    reason: str

    @property
    def where(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[str]:
        """Its command lines: joined where they end in a backslash, without comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield line.strip()


def pages() -> dict[str, Path]:
    """All pages, by file name."""
    found = [ROOT / name for name in ROOT_PAGES] + sorted((ROOT / "docs").glob("*.md"))
    return {path.name: path for path in found}


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        if indented := _indented(lines, number):
            found.append(Block(path.name, number + 1, "console", "", "\n".join(indented) + "\n", ""))
            number += len(indented)
            continue
        fence = _FENCE.match(lines[number])
        if fence is None:
            assert not lines[number].startswith("```"), f"{path.name}:{number + 1}: a fence that nobody understands"
            number += 1
            continue
        end = next(after for after in range(number + 1, len(lines)) if lines[after].rstrip() == fence["ticks"])
        reason = _REASON.match(lines[number - 1]) if number else None
        found.append(
            Block(
                path.name,
                number + 1,
                fence["language"],
                fence["title"] or "",
                "\n".join(lines[number + 1 : end]) + "\n",
                reason[1] if reason else "",
            )
        )
        number = end + 1
    return found


def _indented(lines: list[str], number: int) -> list[str]:
    """The lines of an indented block of commands that begins here, if one does."""
    if number and lines[number - 1].strip():
        return []
    taken = list(takewhile(lambda line: line.startswith(_INDENTED), lines[number:]))
    commands = [line.strip() for line in taken]
    return commands if all(line.startswith("edgeproof ") for line in commands) else []


def prose(path: Path) -> str:
    """A page without its fenced blocks and code spans, in which links and headings are links and headings."""
    text = re.sub(r"^(`{3,}).*?^\1\s*$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
