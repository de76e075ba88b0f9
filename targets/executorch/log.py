"""ExecuTorch's log, beside its answers.

Its C++ code raises exceptions that carry a number; the reason goes to `sys.stderr`.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO

_ITS_OWN = re.compile(r"\[\w+\.(?:cpp|h):\d+\] (.*)")


@contextmanager
def overheard(lines: list[str]) -> Iterator[None]:
    """Keep the runtime's lines off standard error, and append them to `lines` when the block is left.

    What anybody else prints there meanwhile is printed afterwards.
    """
    said = StringIO()
    try:
        with redirect_stderr(said):
            yield
    finally:
        for line in said.getvalue().splitlines():
            found = _ITS_OWN.fullmatch(line)
            if found:
                lines.append(found[1])
            else:
                print(line, file=sys.stderr)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of its Python code: that its API is experimental, and of packages it imports."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
