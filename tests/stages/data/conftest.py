"""No test of data sets reaches the net or the user's own files."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened = urllib.request.urlopen

    def urlopen(request: urllib.request.Request, *more: object, **named: object) -> object:
        if request.host.startswith("127.0.0.1:"):
            return opened(request, *more, **named)  # type: ignore[arg-type]
        raise URLError("no net in tests")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.delenv("EDGEPROOF_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
