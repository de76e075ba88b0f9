"""Plan seal (HMAC) under what a machine built itself: a plan is code, and a digest beside it could be anybody's.

The seal is an HMAC-SHA256 under a key that only the user can read, made with the first plan: `plan.key` in
`$XDG_CONFIG_HOME/edgeproof` or `~/.config/edgeproof`. Where plans are built on one machine and run on another,
`EDGEPROOF_PLAN_KEY` names a key file that both have.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from ....core.errors import UsageError, reason_of

KEY_VARIABLE = "EDGEPROOF_PLAN_KEY"
_BYTES = 32


def key_file() -> Path:
    """Where the key is, or will be."""
    if named := os.environ.get(KEY_VARIABLE):
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "edgeproof" / "plan.key"


def seal(content: bytes) -> str:
    """Seal some content, as hexadecimal digits; makes the key if there is none.

    Raises:
        UsageError: the key cannot be made or read, or others can read it.
    """
    path = key_file()
    try:
        if not path.exists():
            _make(path)
        return _seal(content, path)
    except OSError as error:
        raise UsageError(f"{path}: no key to seal engines with: {reason_of(error)}; set {KEY_VARIABLE}") from None


def sealed_here(content: bytes, given: str) -> bool:
    """Whether a seal was made with the key that this user has; False where there is none.

    Raises:
        UsageError: the key cannot be read, or others can read it.
    """
    path = key_file()
    try:
        return path.exists() and hmac.compare_digest(_seal(content, path).encode(), given.encode())
    except OSError as error:
        raise UsageError(f"{path}: the key that engines are sealed with: {reason_of(error)}") from None


def _seal(content: bytes, path: Path) -> str:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise UsageError(f"{path}: others can read the key that engines are sealed with; chmod 600 it and build again")
    key = path.read_bytes()
    if len(key) < _BYTES:
        raise UsageError(f"{path}: a key has {_BYTES} bytes or more; remove it and build the engines again")
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
        os.link(name, path)  # whole or not at all
    except FileExistsError:
        pass  # another process was quicker
    finally:
        os.unlink(name)
