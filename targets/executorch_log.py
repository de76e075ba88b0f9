"""What ExecuTorch's C++ code says: its exceptions carry a number, the reason goes to standard error."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

_ITS_OWN = re.compile(r"\[\w+\.(?:cpp|h):\d+\] (.*)")


@contextmanager
def overheard(lines: list[str]) -> Iterator[None]:
    """Keep the runtime's lines off standard error, and append them to `lines` when the block is left.

    What anybody else writes there meanwhile is written afterwards.
    """
    try:
        outside = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    with TemporaryFile() as file:
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(outside, 2)
            os.close(outside)
            file.seek(0)
            for line in file.read().decode(errors="replace").splitlines():
                found = _ITS_OWN.fullmatch(line)
                if found:
                    lines.append(found[1])
                else:
                    print(line, file=sys.stderr)
