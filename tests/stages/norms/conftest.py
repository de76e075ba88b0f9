"""A toy norm, registered for a test and gone after it."""

from __future__ import annotations

import pytest
from edgeproof.stages.norms.base import norms

from tests.stages.norms.toy import tilted


@pytest.fixture
def toy_norm(monkeypatch: pytest.MonkeyPatch) -> str:
    norms.names()  # loads what is registered otherwise
    monkeypatch.setitem(norms._entries, "Tilted", tilted)
    return "Tilted"
