"""What docstrings say of a class's attributes."""

from __future__ import annotations

import inspect
import re

_ATTRIBUTE = re.compile(r"^    (\w+): (.*)$")


def summary(kind: type) -> str:
    """The docstring's text before its attributes, as paragraphs of one line each."""
    text = inspect.cleandoc(kind.__doc__ or "").split("\nAttributes:")[0]
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n")).strip()


def meaning(kind: type, name: str) -> str:
    """What the docstring of a class, or of one that it derives from, says of an attribute; empty where nothing.

    A short docstring tells its few options in one sentence: "Options of X: `beta`, how strongly …".
    """
    for each in kind.__mro__:
        if "__doc__" not in vars(each) or not each.__doc__:
            continue
        if found := _attributes(each).get(name):
            return found
        first, colon, rest = summary(each).partition(": ")
        if colon and first.startswith("Options") and f"`{name}`" in rest:
            return rest
    return ""


def _attributes(kind: type) -> dict[str, str]:
    _, _, text = inspect.cleandoc(kind.__doc__ or "").partition("\nAttributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if match := _ATTRIBUTE.match(line):
            name, found[match[1]] = match[1], match[2]
        elif name and line.startswith("        "):
            found[name] += " " + line.strip()
        else:
            name = ""
    return found
