"""Entry point of the command line: errors as one line, exit codes, signals."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from contextlib import suppress
from importlib.metadata import version

from ...core.errors import BackendMissing, EdgeproofError, StageError, raised, reason_of
from ...core.memory import end_quickly, keep_freed_memory
from ...core.reading.printable import in_one_line
from ...core.safe_path import keep_children_safe
from ..store.follower import follows
from . import build, bundles, prove, screen, setup, store
from .app import app
from .ending_signals import received, unwind_on_signals
from .mistakes import Mistake, told

# Importing them registers them; this is also the order of `--help`.
__all__ = ["app", "build", "bundles", "main", "prove", "screen", "setup", "store"]

# A fault of edgeproof's own (sysexits.h, EX_SOFTWARE): nobody may take it for a gate that failed.
FAULT = 70
TRACEBACK = "EDGEPROOF_TRACEBACK"
# What typer makes of Ctrl-C, where it does not let it through.
_INTERRUPTED = 130


def main() -> None:
    """Run the command line; a mistake of the user's is one line on stderr, never a traceback."""
    end_quickly()
    keep_freed_memory()
    keep_children_safe()
    unwind_on_signals()
    if sys.stdout is None:
        sys.exit(_say("stdout: closed, so that nobody would see the answer", StageError.exit_code))
    sys.exit(_flushed(_run()))


def _run() -> int:
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
        code = _INTERRUPTED
    except SystemExit as error:  # typer's, for a pipe that nobody reads
        broken = error.__context__
        code = _of_system(broken) if isinstance(broken, OSError) else _fault(error)
    except (OSError, MemoryError) as error:
        code = _of_system(error)
    except Exception as error:
        code = _fault(error)
    if code == _INTERRUPTED:
        code = 128 + received()
        _say("interrupted; the same command goes on from here", code)
    return code or 0


def _flushed(code: int) -> int:
    """What is printed may still lie in a buffer, and the pipe or the disk refuse it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        # Python flushes once more when it ends, with an exit code and a message of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _of_system(error if isinstance(error, OSError) else OSError(str(error)))
    return code


def _of_system(error: OSError | MemoryError) -> int:
    """Say what the operating system refused; call it in the handler."""
    if isinstance(error, MemoryError):
        said = "out of memory"
    else:
        file = error.filename2 or error.filename or ("stdout" if isinstance(error, BrokenPipeError) else None)
        said = f"{file}: {error.strerror}" if file else reason_of(error)
    code = _say(said, StageError.exit_code)
    _trace()
    return code


def _say(line: str, code: int) -> int:
    if not follows():  # the leading process says it
        with suppress(OSError, ValueError):  # nobody listens
            print(f"edgeproof: {in_one_line(line)}", file=sys.stderr, flush=True)
    return code


def _fault(error: BaseException) -> int:
    """Say what nobody foresaw, and keep where it was; call it in the handler."""
    code = _say(f"a fault of edgeproof itself: {raised(error).removeprefix('raised ')}{_logged()}", FAULT)
    _trace()
    return code


def _logged() -> str:
    """Where the traceback lies, for the line that tells of a fault."""
    if follows():
        return ""
    try:
        descriptor, log = tempfile.mkstemp(prefix="edgeproof-fault-", suffix=".log", text=True)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"edgeproof {version('edgeproof')}, Python {sys.version}, {sys.platform}\n")
            file.write(f"{sys.argv[1:]}\n{traceback.format_exc()}")
    except OSError:
        return ""
    return f" (log: {log})"


def _trace() -> None:
    if os.environ.get(TRACEBACK) and not follows():
        traceback.print_exc()
