"""The store of a test is its own."""

from __future__ import annotations

import pytest
from edgeproof.pipeline.store.place import ENVIRONMENT


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
