"""Entry point of the command line: errors as one line, exit codes, signals."""

from __future__ import annotations

import os
import sys
import traceback

from ...core.errors import BackendMissing, EdgeproofError, raised
from ...core.memory import end_quickly, keep_freed_memory
from ...core.reading.printable import in_one_line
from ...core.safe_path import keep_children_safe
from ..store.follower import follows
from . import build, bundles, prove, screen, setup, store
from .app import app
from .mistakes import Mistake, told

# Importing them registers them; this is also the order of `--help`.
__all__ = ["app", "build", "bundles", "main", "prove", "screen", "setup", "store"]

INTERRUPTED = 130
# A fault of edgeproof's own (sysexits.h, EX_SOFTWARE): nobody may take it for a gate that failed.
FAULT = 70
TRACEBACK = "EDGEPROOF_TRACEBACK"


def main() -> None:
    """Run the command line; a mistake of the user's is one line on stderr, never a traceback."""
    end_quickly()
    keep_freed_memory()
    keep_children_safe()
    try:
        code = app(standalone_mode=False)  # else typer draws a box around a mistake, and is silent when interrupted
    except EdgeproofError as error:
        code = _say(str(error), error.exit_code)
        _trace()
    except Mistake as error:
        code = error.exit_code
        if line := told(error):
            _say(line, code)
    except ModuleNotFoundError as error:  # as on a device, where only `replay` and `bench` are meant to run
        missing = (error.name or "").partition(".")[0]
        if missing in {"", "edgeproof"}:
            code = _fault(error)
        else:
            line = f"No module named {missing!r}; this command needs what edgeproof depends on: pip install edgeproof"
            code = _say(line, BackendMissing.exit_code)
    except KeyboardInterrupt:  # as older versions of typer let it through
        code = INTERRUPTED
    except Exception as error:
        code = _fault(error)
    if code == INTERRUPTED:
        _say("interrupted; the same command goes on from here", code)
    sys.exit(code)


def _say(line: str, code: int) -> int:
    if not follows():  # the leading process says it
        print(f"edgeproof: {in_one_line(line)}", file=sys.stderr)
    return code


def _fault(error: Exception) -> int:
    """Say what nobody foresaw; call it in the handler."""
    hint = "" if os.environ.get(TRACEBACK) else f"; {TRACEBACK}=1 shows where"
    code = _say(f"a fault of edgeproof itself: {raised(error).removeprefix('raised ')}{hint}", FAULT)
    _trace()
    return code


def _trace() -> None:
    if os.environ.get(TRACEBACK) and not follows():
        traceback.print_exc()
