"""User function, named as `package.module:function`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from .errors import UsageError, reason_of
from .user_modules import Place, adopt, fault_line, place, serve

_SPEC = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_function(name: str) -> bool:
    """Whether a name has the form `package.module:function`."""
    return _SPEC.fullmatch(name) is not None


def load_function(spec: str, kind: str) -> Callable[..., Any]:
    """Import the function that `package.module:function` names.

    An installed module comes first, then one beside the recipe, then one in the working directory.

    Args:
        spec: the name.
        kind: what it is for ("dataset", "model", ...), for messages.

    Raises:
        UsageError: the module does not import, or holds no such function; or a file beside the recipe is called as an
            installed module is, so that nobody knows which is meant.
    """
    module_name, _, name = spec.partition(":")
    try:
        serve(module_name)
    except UsageError as error:
        raise UsageError(f"{kind} {spec!r}: {error}") from None
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # theirs may fail in any way
        reason = f"{reason_of(error)}{fault_line(error, module_name)}"
        if isinstance(error, ModuleNotFoundError) and error.name == module_name:
            folder = place().folder
            beside = "" if folder is None else f", nor beside the recipe, in {folder}"
            reason = f"{reason_of(error)}; there is none installed{beside}, nor in the working directory"
        raise UsageError(f"{kind} {spec!r}: the module {module_name} does not import: {reason}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"{kind} {spec!r}: {module_name} has no function {name!r}")
    return function


def load_function_there(there: Place, spec: str, kind: str) -> Callable[..., Any]:
    """`load_function` in a process of its own, which looks where the one that it works for does."""
    adopt(there)
    return load_function(spec, kind)
