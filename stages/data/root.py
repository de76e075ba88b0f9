"""Data root: where the files of data sets lie."""

from __future__ import annotations

import os
from pathlib import Path

from ...core.errors import UsageError
from .base import DataConfig

ENVIRONMENT = "EDGEPROOF_DATA"
DEFAULT = "~/.cache/edgeproof/data"


def data_root(config: DataConfig) -> Path:
    """Return the folder under which data sets lie: the config's, $EDGEPROOF_DATA, or our cache.

    Raises:
        UsageError: the named folder does not exist.
    """
    return given_root(config) or Path(DEFAULT).expanduser()


def given_root(config: DataConfig) -> Path | None:
    """Return the folder that the user named, if any.

    Raises:
        UsageError: it does not exist.
    """
    named = config.root or os.environ.get(ENVIRONMENT)
    if not named:
        return None
    root = Path(os.path.expanduser(named)).absolute()
    if not root.is_dir():
        what = "data root" if config.root else ENVIRONMENT
        raise UsageError(f"{what} {root}: no such folder (data sets are downloaded into a folder that exists)")
    return root
