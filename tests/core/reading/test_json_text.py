"""JSON that may come from anybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from edgeproof.core.reading.json_text import parse_json, read_json
from hypothesis import given
from hypothesis import strategies as st

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
    max_leaves=10,
)


@given(_PLAIN)
def test_what_is_plain_reads_as_json_reads_it(value: Any):
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "key 'c' is there twice"),
        ("[NaN]", "NaN is no number of JSON"),
        ("[-Infinity]", "-Infinity is no number of JSON"),
        ("[1e999]", "1e999 is too long or too large"),
        ("1" * 5000, "a number of 5000 digits"),
        ("[" * 65 + "]" * 65, "nested deeper than 64"),
        ("[" * 100_000, "nested deeper than 64"),
        (r'"\ud800"', "has a lone surrogate"),
        (b'"\xff"', "utf-8"),
        ("", "Expecting value"),
    ],
)
def test_what_is_refused(text: str | bytes, words: str):
    with pytest.raises(ValueError, match=words) as caught:
        parse_json(text)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no plain file"):
        read_json(tmp_path / "pipe")
