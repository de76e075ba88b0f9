"""Shows the pages of the repository's root (README and others) as pages of the site, with the links set right.

A hook of mkdocs. On GitHub, and on the disk, the links of all files work as they are written.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# File of the root, and its page.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
_LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages of the root."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point links at pages: `docs/build.md` of a root page is `build.md`, `../README.md` of another `index.md`.

    What lies elsewhere in the repository is no page; there the link's words stay.
    """
    of_root = page.file.src_uri in PAGES.values()

    def moved(match: re.Match[str]) -> str:
        target = match["target"]
        if ":" in target:
            return match[0]
        if of_root:
            there = PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else "")
        else:
            there = PAGES.get(target.removeprefix("../"), "") if target.startswith("../") else target
        return f"{match['text']}({there}{match['anchor'] or ''})" if there else match["text"].strip("[]")

    return _LINK.sub(moved, markdown)
