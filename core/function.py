"""User function, named as `package.module:function`."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from .errors import UsageError

_SPEC = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_function(name: str) -> bool:
    """Whether a name has the form `package.module:function`."""
    return _SPEC.fullmatch(name) is not None


def load_function(spec: str, kind: str) -> Callable[..., Any]:
    """Import the function that `package.module:function` names; the working directory counts as importable.

    Args:
        spec: the name.
        kind: what it is for ("dataset", "model", ...), for messages.

    Raises:
        UsageError: the module does not import, or holds no such function.
    """
    module_name, _, name = spec.partition(":")
    here = os.getcwd()  # sys.path holds strings
    if here not in sys.path and "" not in sys.path:  # a console script does not see it otherwise
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # theirs may fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{kind} {spec!r}: the module {module_name} does not import: {reason}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"{kind} {spec!r}: {module_name} has no function {name!r}")
    return function
