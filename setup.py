"""Long description for package indexes: the README, whose links into the repository lead nowhere there.

They become absolute where pyproject.toml names the repository (`project.urls.Source`), with the tag of this version;
until it does, they become the names of the files, which lie in the source distribution.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent
_LINK = re.compile(r"(?P<picture>!?)\[(?P<words>[^\]]*)\]\((?P<file>[^):#\s]*)(?P<anchor>#[^)\s]*)?\)")


def long_description(readme: str, source: str | None, version: str) -> str:
    """The README as a package index shows it.

    Args:
        readme: Markdown, with links relative to the repository's root.
        source: the repository's address; None where there is none.
        version: whose tag the links are to.
    """

    def replaced(link: re.Match[str]) -> str:
        picture, words, file, anchor = link["picture"], link["words"], link["file"], link["anchor"] or ""
        if not file:  # a place on this page
            return link[0]
        if source is not None:
            kind = "raw" if picture else "blob"
            return f"{picture}[{words}]({source.rstrip('/')}/{kind}/v{version}/{file}{anchor})"
        return f"*{' '.join(words.split())}*" if picture else f"{words} (`{file}`)"

    text = _LINK.sub(replaced, readme)
    return re.sub(r"^<!--.*?-->\n", "", text, flags=re.MULTILINE)


if __name__ == "__main__":
    from setuptools import setup

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    setup(
        long_description=long_description(
            (ROOT / "README.md").read_text(encoding="utf-8"), project.get("urls", {}).get("Source"), project["version"]
        ),
        long_description_content_type="text/markdown",
    )
