"""Checksum of a JSON document, in the document itself: a value that changed is noticed, white space that did is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CHECKSUM = "checksum"


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with its checksum as the last key, in place of an earlier one."""
    return {**_rest(content), CHECKSUM: checksum(content)}


def is_whole(content: Mapping[str, Any]) -> bool:
    """Whether a document is as it was when it got its checksum; one without is not."""
    return content.get(CHECKSUM) == checksum(content)


def checksum(content: Mapping[str, Any]) -> str:
    """Return `sha256:…` of everything in a document but its checksum, keys in order."""
    return "sha256:" + hashlib.sha256(json.dumps(_rest(content), sort_keys=True).encode()).hexdigest()


def _rest(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != CHECKSUM}
