"""A signal ends a run in one line, with its workers, and leaves nothing behind; the same command goes on from there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests import warm
from tests.e2e.conftest import ENV, FEW
from tests.warm import in_session, until

_OWN_SESSION = """
import os, signal, sys
os.setsid()
# Whoever runs the tests in the background may have these ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from edgeproof.pipeline.cli.main import main
sys.argv = ["edgeproof", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(
    ("number", "everybody"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)]
)
def test_a_signal(number: signal.Signals, everybody: bool, tmp_path: Path, float_onnx: Path):
    script, out = tmp_path / "session.py", tmp_path / "out"
    script.write_text(_OWN_SESSION)
    arguments = ["verify", float_onnx, "--dataset", "digits", "--eps", "0.1", *FEW, "--workers", "2"]
    many = ["--set", "verify.shard_size=5", "--set", "verify.attacks=[apgd-ce]", "--out", out]
    process = warm.Process([*map(str, [*arguments, *many])], tmp_path, {**ENV, "EDGEPROOF_STORE": ""}, script)
    assert until(lambda: [*out.glob(".store/partial/*/shards/*.npz")], 120), process.said()
    assert len(in_session(process.pid)) >= 3
    (os.killpg if everybody else os.kill)(process.pid, number)
    assert process.wait() == 128 + number
    assert until(lambda: not in_session(process.pid), 5)
    out, err = process.said()
    assert (out, err.splitlines()[-1]) == ("", "edgeproof: interrupted; the same command goes on from here")
    assert "Traceback" not in err
    assert not [name for name in os.listdir("/dev/shm") if f"_{process.pid}_" in name or f"-{process.pid}-" in name]
