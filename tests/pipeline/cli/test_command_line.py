"""What the command line itself answers, whatever the command."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from edgeproof.pipeline.cli import main as cli
from edgeproof.pipeline.commands import compare as comparing


def test_an_interrupted_command_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparing, "compare", interrupted)
    monkeypatch.setattr("sys.argv", ["edgeproof", "compare", "before", "after"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == 130
    assert capsys.readouterr() == ("", "edgeproof: interrupted; the same command goes on from here\n")


@pytest.mark.parametrize(
    "error", [RuntimeError("size of\ntensors"), KeyError(), ModuleNotFoundError("no", name="edgeproof.x")]
)
def test_a_fault_is_told_from_a_gate_that_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
):
    def broken(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(comparing, "compare", broken)
    monkeypatch.setattr("sys.argv", ["edgeproof", "compare", "before", "after"])

    def answer() -> str:
        with pytest.raises(SystemExit) as done:
            cli.main()
        assert done.value.code == 70
        out, err = capsys.readouterr()
        assert out == ""
        return err

    line = answer()
    assert line.startswith(f"edgeproof: a fault of edgeproof itself: {type(error).__name__}")
    assert len(line.splitlines()) == 1
    log = Path(line.rstrip().removesuffix(")").rpartition(" (log: ")[2])
    assert "in broken" in log.read_text()
    log.unlink()
    monkeypatch.setenv("EDGEPROOF_TRACEBACK", "1")
    assert "in broken" in answer()


def test_without_arguments_there_is_the_help_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["edgeproof"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    out, err = capsys.readouterr()
    assert (done.value.code, err) == (2, "")
    assert "Usage:" in out
    assert "verify" in out
