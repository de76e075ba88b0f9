"""Error classes and exit codes: one line each for users."""

from __future__ import annotations


class EdgeproofError(Exception):
    """Base of every error that is reported as one line instead of a traceback."""

    exit_code: int = 3


class UsageError(EdgeproofError):
    """The recipe, the command line or a file the user named is wrong (exit code 2)."""

    exit_code = 2


class StageError(EdgeproofError):
    """A stage ran and failed (exit code 3)."""

    exit_code = 3


class BackendMissing(EdgeproofError):
    """A runtime is not installed or cannot run here, so nothing can be said (exit code 4)."""

    exit_code = 4


class EngineFailure(StageError):
    """A running engine gave no answer to a batch: it crashed, hung, or raised; the message says which."""


class ModelError(UsageError):
    """A model file is broken or is not an image classifier we can attack (exit code 2)."""


def raised(error: BaseException) -> str:
    """What an `EngineFailure` says of a model's exception."""
    return f"raised {type(error).__name__}: {reason_of(error)}"


def reason_of(error: BaseException) -> str:
    """The first line of what somebody else's exception says, or its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
