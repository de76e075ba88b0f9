"""YAML that may come from anybody: what is plain reads as PyYAML reads it, the rest is a line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from edgeproof.core.reading.yaml_text import parse_yaml, read_yaml

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda path: path.name)
def test_examples_read_as_pyyaml_reads_them(path: Path):
    assert read_yaml(path) == yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: {b: [1, 2.5, true, null, ~, 'x', \"y\"]}",
        "a: &a [1]\nb: *a",
        "<<: {a: 1}\nb: 2",
        "a: !!float 3",
        "a: 0x1F",
    ],
)
def test_plain_documents_read_as_pyyaml_reads_them(text: str):
    assert parse_yaml(text) == yaml.safe_load(text)


def test_dates_are_texts_and_a_byte_order_mark_is_none():
    assert parse_yaml("a: 2001-02-30") == {"a": "2001-02-30"}
    assert parse_yaml(b"\xef\xbb\xbfa: 1\r\n") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "at line 3: key 'a' is there twice"),
        ("a: {b: 1, b: 2}", "key 'b' is there twice"),
        ("1: a", "a key is a text, '1' in quotes"),
        ("? [a]\n: b", "a key is a text"),
        ("a: !!int abc", "'abc' is no int"),
        ("a: !!bool zz", "'zz' is no bool"),
        ("a: !!timestamp x", "a tag that is not read here, 'timestamp'"),
        ("a: !!python/object:os.system x", "a tag that is not read here"),
        ("a: !!set {b}", "a tag that is not read here, 'set'"),
        ("a: " + "1" * 5000, "a number of 5000 characters"),
        ("a: 0x_", "'0x_' is no number"),
        ("&a [*a]", r"\*a holds itself"),
        ("&a {b: {c: *a}}", r"\*a holds itself"),
        ("[" * 41, "nested deeper than 40"),
        ("\n".join("  " * depth + "a:" for depth in range(50)), "at line 40: nested deeper than 40"),
        ('a: "\\0"', "has a NUL character"),
        ('a: "\\uD83D"', "has a lone surrogate"),
        ("a: *b", "undefined alias"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a\x00b", "at line 1: special characters"),
        (b"a: \xff", "utf-8"),
    ],
)
def test_what_is_refused(text: str | bytes, words: str):
    with pytest.raises(ValueError, match=words) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_laughs_are_counted_before_they_are_laughed():
    text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    text += "".join(f"a{n}: &a{n} [{','.join(10 * [f'*a{n - 1}'])}]\n" for n in range(1, 12))
    began = time.monotonic()
    with pytest.raises(ValueError, match="more than 10,000 values"):
        parse_yaml(text)
    assert time.monotonic() - began < 5


def test_what_is_no_plain_file(tmp_path: Path):
    (tmp_path / "large").write_bytes(b"#" * (1 << 20))
    with pytest.raises(ValueError, match=r"1.0 MiB, where 256.0 KiB are the most"):
        read_yaml(tmp_path / "large")
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(ValueError, match="no plain file"):
            read_yaml(path)
