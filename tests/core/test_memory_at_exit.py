"""A process that ends quickly: what would have been collected is left, what was asked for at its exit is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import atexit, gc, sys, tempfile, weakref
from edgeproof.core.memory import end_quickly

class Garbage:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("collected")

gc.disable()
folder = tempfile.TemporaryDirectory()
weakref.finalize(folder, print, "finalized")
atexit.register(print, "handled")
if "quickly" in sys.argv:
    end_quickly()
Garbage()
open(sys.argv[1], "w").write(folder.name)
"""


@pytest.mark.parametrize(("more", "said"), [((), ["collected"]), (("quickly",), [])])
def test_it_does_what_was_asked_for_and_collects_nothing(tmp_path: Path, more: tuple[str, ...], said: list[str]):
    asked = [sys.executable, "-W", "ignore", "-c", _CODE, str(tmp_path / "name"), *more]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == sorted(["handled", "finalized", *said])
    assert not Path((tmp_path / "name").read_text()).exists()
