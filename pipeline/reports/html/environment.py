"""Template environment (jinja2): everything is escaped, and nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

_TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: str, **values: Any) -> str:
    """Render a page into one file with its style and its script inside."""
    style, script = ((_TEMPLATES / name).read_text() for name in ("page.css", "page.js"))
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            style=Markup(style),
            script=Markup(script),
            # The script is the only one that runs, even if a text should ever get through as markup.
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["words"] = _words
    found.filters["drawing"] = Markup  # of `svg.py`, which escapes what it writes
    return found


def _words(text: str) -> Markup:
    """A text, escaped; what it quotes between backticks stands as code, and so does a digest."""
    return Markup(re.sub("`([^`]+)`|^([0-9a-f]{64})$", r"<code>\1\2</code>", str(escape(text))))
