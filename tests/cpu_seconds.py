"""CPU seconds of the suite by file, children included: wall time on a busy machine says nothing.

`pytest --cpu-seconds=FILE` writes one line a test file, the dearest first, and `tests/slow.txt` anew for the files that
ran; `make test-cpu` does so for everything. What that list names is marked `slow`.
"""

from __future__ import annotations

import json
import os
import resource
from collections import Counter
from pathlib import Path

import pytest

_TICKS = os.sysconf("SC_CLK_TCK")
_PART = "cpu_seconds"
SLOW = Path(__file__).with_name("slow.txt")
# A function's tests together, with the fixtures that they are the first to ask for.
_SLOW_SECONDS = 1.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cpu-seconds", metavar="FILE", help="write CPU seconds by test file, children included")


def pytest_configure(config: pytest.Config) -> None:
    if (path := config.getoption("--cpu-seconds")) is not None:
        config.pluginmanager.register(_Measured(Path(path).resolve()), "cpu-seconds")


def slow_functions() -> set[str]:
    """The test functions that were measured to be slow, `file::function`."""
    return set(SLOW.read_text().split()) if SLOW.exists() else set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = slow_functions()
    for item in items:
        if function_of(item.nodeid) in slow:
            item.add_marker("slow")


def function_of(node: str) -> str:
    """The test function of a test, `file::function`."""
    return node.partition("[")[0].partition("@")[0]


class _Measured:
    """Adds up by file, in each worker; the workers' sums come together in the main process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spent: Counter[str] = Counter()
        self.tests: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        before = _cpu_seconds()
        result = yield
        spent = _cpu_seconds() - before
        name = item.location[0]
        self.spent[name] += spent
        self.tests[name] += 1
        self.functions[function_of(item.nodeid)] += spent
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self):
        before = _cpu_seconds()
        result = yield
        self.spent["(start and collection)"] += before + _cpu_seconds() - before
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        found = getattr(node, "workeroutput", {}).get(_PART)
        if found is not None:
            for mine, theirs in zip((self.spent, self.tests, self.functions), json.loads(found), strict=True):
                mine.update(theirs)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_PART] = json.dumps([self.spent, self.tests, self.functions])
            return
        lines = [f"{sum(self.spent.values()):9.1f} s  everything"]
        lines += [f"{seconds:9.1f} s  {self.tests[name]:5}  {name}" for name, seconds in self.spent.most_common()]
        lines += ["", *(f"{seconds:9.1f} s  {name}" for name, seconds in self.functions.most_common(100))]
        self.path.write_text("\n".join(lines) + "\n")
        elsewhere = {name for name in slow_functions() if name.partition("::")[0] not in self.tests}
        here = {name for name, seconds in self.functions.items() if seconds >= _SLOW_SECONDS}
        SLOW.write_text("".join(f"{name}\n" for name in sorted(elsewhere | here)))


def _cpu_seconds() -> float:
    """Of this process, of its children that ended, and of those that still run and what they have waited for."""
    mine = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    spent = sum(each.ru_utime + each.ru_stime for each in mine)
    for children in Path("/proc/self/task").glob("*/children"):  # Linux; elsewhere only those that ended count
        spent += sum(map(of_process, children.read_text().split()))
    return spent


def of_process(process: str) -> float:
    """CPU seconds of a process and of the children that it has waited for; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS
