"""Strict YAML: plain values alone, no key twice; aliases, nesting and numbers within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from .bounded import check_encodable, read_bounded

# A recipe has some KiB. Aliases count as often as they are named.
MOST = 256 << 10
_MOST_VALUES = 10_000
_DEEPEST = 40
_LONGEST_NUMBER = 40
_SHOWN = 40
_OURS = "tag:yaml.org,2002:"
_TEXT, _MERGE, _DATE = (f"{_OURS}{kind}" for kind in ("str", "merge", "timestamp"))
_NUMBERS = (f"{_OURS}int", f"{_OURS}float")
_PLAIN = {_TEXT, _MERGE, *_NUMBERS, *(f"{_OURS}{kind}" for kind in ("bool", "null", "map", "seq"))}


def read_yaml(path: Path) -> Any:
    """Read a YAML file; see `parse_yaml`.

    Raises:
        ValueError: as `parse_yaml`, or it is too large or no plain file.
        OSError: it is missing or cannot be read.
    """
    return parse_yaml(read_bounded(path, MOST))


def parse_yaml(content: bytes | str) -> Any:
    """Read a YAML document, which may come from anybody: lists and mappings of texts, numbers, booleans and null.

    Dates are texts, as in YAML 1.2.

    Raises:
        ValueError: it is none, in UTF-8; a key is twice in one mapping, or no text; a value is of another kind, or not
            what its tag says; a number has more than 40 characters; something holds itself; there are more than 10,000
            values, an alias counted as what it stands for; it is nested deeper than 40; or a text has a NUL character
            or a lone surrogate. The message has the line.
    """
    text = content if isinstance(content, str) else content.decode("utf-8-sig")
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
            raise ValueError(f"at line {error.problem_mark.line + 1}: {error.problem}") from None
        line = 1 + text.count("\n", 0, getattr(error, "position", 0))
        raise ValueError(f"at line {line}: {getattr(error, 'reason', 'cannot be read')}") from None
    except RecursionError:
        raise ValueError(f"nested deeper than {_DEEPEST}") from None


class _Loader(yaml.SafeLoader):
    """Looks at every node as it is composed, before aliases are followed and values are made."""

    yaml_implicit_resolvers: ClassVar = {
        first: [each for each in resolvers if each[0] != _DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._values = 0
        self._sizes: dict[str, int] = {}  # by anchor: how many values it stands for, once it is whole

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self.anchors and event.anchor not in self._sizes:
                raise _wrong(event, f"*{event.anchor[:_SHOWN]} holds itself")
            self._count(self._sizes.get(event.anchor, 0), event)
            return super().compose_node(parent, index)
        before = self._values
        self._count(1, event)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _wrong(event, f"nested deeper than {_DEEPEST}")
        node = super().compose_node(parent, index)
        self._depth -= 1
        assert node is not None, "only an alias of nothing has no node"
        self._check(node)
        if event.anchor is not None:
            self._sizes[event.anchor] = self._values - before
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError):  # 0x_, say
            raise _wrong(node, f"{str(node.value)[:_SHOWN]!r} is no number") from None

    def _count(self, values: int, where: Any) -> None:
        self._values += values
        if self._values > _MOST_VALUES:
            raise _wrong(where, f"more than {_MOST_VALUES:,} values, an alias counted as what it stands for")

    def _check(self, node: Node) -> None:
        if node.tag not in _PLAIN:
            raise _wrong(node, f"a tag that is not read here, {node.tag.removeprefix(_OURS)[:_SHOWN]!r}")
        if isinstance(node, ScalarNode):
            self._check_scalar(node)
        elif isinstance(node, MappingNode):
            _check_keys(node)

    def _check_scalar(self, node: ScalarNode) -> None:
        if "\0" in node.value:  # no path has one
            raise _wrong(node, f"{node.value[:_SHOWN]!r} has a NUL character")
        try:
            check_encodable(node.value)
        except ValueError as error:
            raise _wrong(node, str(error)) from None
        if node.tag == _TEXT:
            return
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise _wrong(node, f"a number of {len(node.value)} characters")
        # What stands there, whatever its tag says; a whole number is also a float.
        found = self.resolve(ScalarNode, node.value, (True, False))
        if node.tag not in (found, _NUMBERS[1] if found == _NUMBERS[0] else found):
            raise _wrong(node, f"{node.value[:_SHOWN]!r} is no {node.tag.removeprefix(_OURS)}")


def _check_keys(node: MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, ScalarNode) or key.tag not in (_TEXT, _MERGE):
            raise _wrong(key, f"a key is a text{_in_quotes(key)}")
        if key.value in seen:
            raise _wrong(key, f"key {key.value[:_SHOWN]!r} is there twice")
        seen.add(key.value)


def _in_quotes(key: Node) -> str:
    return f", {key.value[:_SHOWN]!r} in quotes, say" if isinstance(key, ScalarNode) else ""


def _wrong(where: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)
