"""What the command line itself answers, whatever the command."""

from __future__ import annotations

from typing import NoReturn

import pytest
from edgeproof.pipeline import cli, comparing


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
