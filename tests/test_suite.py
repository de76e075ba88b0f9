"""The suite's own arrangements: the list of slow tests names tests that there are."""

from __future__ import annotations

from tests.cpu_seconds import slow_functions
from tests.shared import ROOT


def test_the_list_of_slow_tests_is_current():
    """`make test-cpu` writes it anew."""
    gone = []
    for name in slow_functions():
        file, _, function = name.partition("::")
        path = ROOT / file
        if not path.is_file() or f"def {function}(" not in path.read_text():
            gone.append(name)
    assert gone == []
