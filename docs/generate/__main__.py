"""Writes the reference pages anew: `python docs/generate`; with `--check` it only says whether they are current.

The pages come from the code: keys and options from its config models and commands, their meanings from its docstrings;
and from the example notebook, whose cells `python docs/generate --run-notebook` runs first.
"""

from __future__ import annotations

import sys
from pathlib import Path

import check_page
import command_page
import notebook_page
import recipe_page

DOCS = Path(__file__).parents[1]
PAGES = {
    "recipe.md": recipe_page.page,
    "commands.md": command_page.page,
    "checks.md": check_page.page,
    "notebook.md": notebook_page.page,
}


def main() -> int:
    """Write the pages, or return 1 where one is not what it would be now."""
    if "--run-notebook" in sys.argv:
        notebook_page.run()
    stale: list[str] = []
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"not current: {', '.join(stale)}; run: python docs/generate")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
