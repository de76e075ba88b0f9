"""How tests are dealt to the workers: whole files, unless marks say what belongs together; slow ones first."""

from __future__ import annotations

from functools import cached_property

import pytest

from tests.cpu_seconds import function_of, slow_functions

try:
    from xdist.scheduler import LoadScopeScheduling
except ImportError:  # pytest alone runs everything in one process
    LoadScopeScheduling = None


if LoadScopeScheduling is not None:

    class _ByFileOrGroup(LoadScopeScheduling):
        """A file is a unit of work, as with `--dist loadfile`; tests marked `xdist_group` are one of their own.

        So a file with several dear fixtures does not hold up one worker while the other is idle; and those with slow
        tests come first, so that the last ones end together.
        """

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            grouped = nodeid.rfind("@") > nodeid.rfind("]")
            return f"{file}@{nodeid.rpartition('@')[2]}" if grouped else file

        def _assign_work_unit(self, node: object) -> None:
            if (scope := next((each for each in self.workqueue if each in self._slow), None)) is not None:
                self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)  # pyright: ignore[reportArgumentType]

        @cached_property
        def _slow(self) -> set[str]:
            listed = slow_functions()
            return {self._split_scope(each) for each in self.collection or () if function_of(each) in listed}

    def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
        if config.getoption("dist") == "loadgroup":
            return _ByFileOrGroup(config, log)  # pyright: ignore[reportArgumentType]
        return None
