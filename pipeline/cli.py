"""The command line."""

from __future__ import annotations

import sys

from ..stages.freed_memory import keep_freed_memory
from ..targets.errors import EdgeproofError
from .commands import build, bundles, prove, screen, setup
from .commands.app import app
from .following import follows

# Importing them registers them; this is also the order of `--help`.
__all__ = ["app", "build", "bundles", "main", "prove", "screen", "setup"]


def main() -> None:
    """Run the command line; a mistake of the user's is one line on stderr, never a traceback."""
    keep_freed_memory()
    try:
        app()
    except EdgeproofError as error:
        if not follows():  # the leading process says it
            print(f"edgeproof: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("edgeproof: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
