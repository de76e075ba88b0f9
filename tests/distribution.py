"""How tests are dealt to the workers: a file is dealt whole, unless its marks say what belongs together."""

from __future__ import annotations

import pytest

try:
    from xdist.scheduler import LoadScopeScheduling
except ImportError:  # pytest alone runs everything in one process
    LoadScopeScheduling = None


if LoadScopeScheduling is not None:

    class _ByFileOrGroup(LoadScopeScheduling):
        """A file is a unit of work, as with `--dist loadfile`; tests marked `xdist_group` are one of their own.

        So a file with several dear fixtures does not hold up one worker while the other is idle.
        """

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            grouped = nodeid.rfind("@") > nodeid.rfind("]")
            return f"{file}@{nodeid.rpartition('@')[2]}" if grouped else file

    def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
        if config.getoption("dist") == "loadgroup":
            return _ByFileOrGroup(config, log)  # pyright: ignore[reportArgumentType]
        return None
