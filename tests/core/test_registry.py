"""A plug-in is one new file or one entry point; nothing else needs to change."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from edgeproof.core import registry
from edgeproof.core.errors import UsageError
from edgeproof.core.registry import Description, Registry, summary_of


def test_a_new_file_registers_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "plugins_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from edgeproof.core.registry import Registry\nthings = Registry('thing', __name__)\n"
    )
    (package / "one.py").write_text("from . import things\nthings.register('one')('the first')\n")
    monkeypatch.syspath_prepend(tmp_path)
    things: Registry[str] = __import__("plugins_of_a_test").things
    assert things.names() == ["one"]
    assert things["one"] == "the first"
    sys.modules.pop("plugins_of_a_test")


def test_third_parties_add_theirs_by_entry_point(monkeypatch: pytest.MonkeyPatch):
    point = EntryPoint("theirs", "collections:OrderedDict", "edgeproof.things")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "edgeproof.things" else [])
    things: Registry[object] = Registry("thing", "edgeproof.stages.data", "edgeproof.things")
    assert things["theirs"].__name__ == "OrderedDict"  # type: ignore[attr-defined]


def test_a_broken_plug_in_is_named(monkeypatch: pytest.MonkeyPatch):
    point = EntryPoint("theirs", "no_such_module:thing", "edgeproof.things")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    things: Registry[object] = Registry("thing", "edgeproof.stages.data", "edgeproof.things")
    with pytest.raises(UsageError, match=r"plug-in thing 'theirs' \(no_such_module:thing\) does not load: No module"):
        things["theirs"]


def test_a_plug_in_that_exits_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its code would be taken for one of ours: 1 is a gate that failed."""
    (tmp_path / "exits_on_import.py").write_text("import sys\nsys.exit(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("theirs", "exits_on_import:thing", "edgeproof.things")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    things: Registry[object] = Registry("thing", "edgeproof.stages.data", "edgeproof.things", functions=True)
    with pytest.raises(UsageError, match="plug-in thing 'theirs'"):
        things["theirs"]
    with pytest.raises(UsageError, match="exits_on_import"):
        things["exits_on_import:thing"]


def test_a_plug_in_of_another_kind_is_named(monkeypatch: pytest.MonkeyPatch):
    points = [EntryPoint("pi", "math:pi", "edgeproof.things"), EntryPoint("nt", "os:name", "edgeproof.things")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    things: Registry[str] = Registry("thing", "edgeproof.stages.data", "edgeproof.things", instances_of=str)
    with pytest.raises(UsageError, match=r"plug-in thing 'pi' \(math:pi\) is of type float, no str"):
        things["pi"]
    assert list(things.loaded()) == ["nt"]


def test_a_broken_plug_in_is_in_nobodys_way(monkeypatch: pytest.MonkeyPatch):
    points = [
        EntryPoint("broken", "no_such_module:thing", "edgeproof.things"),
        EntryPoint("theirs", "collections:OrderedDict", "edgeproof.things"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    things: Registry[Any] = Registry("thing", "edgeproof.stages.statistics", "edgeproof.things")
    things.register("ours")(Documented)
    assert things.names() == ["broken", "ours", "theirs"]
    assert things["ours"] is Documented
    assert list(things.loaded()) == ["ours", "theirs"]
    described = {each.name: each for each in things.describe()}
    assert described["broken"].problem is not None
    assert "no_such_module" in described["broken"].problem
    assert described["broken"].origin == "no_such_module"
    assert described["theirs"] == Description("theirs", "Dictionary that remembers insertion order", "collections")


def test_nothing_of_third_parties_is_loaded_for_its_name(monkeypatch: pytest.MonkeyPatch):
    point = EntryPoint("theirs", "edgeproof_not_there:thing", "edgeproof.things")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    monkeypatch.setattr(EntryPoint, "load", lambda self: pytest.fail("loaded"))
    things: Registry[Any] = Registry("thing", "edgeproof.stages.statistics", "edgeproof.things")
    assert things.names() == ["theirs"]


class Documented:
    """A class with a docstring.

    And more of it.
    """


class Derived(Documented):
    pass


def test_the_summary_is_the_first_line_of_the_entrys_own_docstring():
    def function() -> None:
        """A function with a docstring."""

    assert summary_of(Documented) == summary_of(Documented()) == "A class with a docstring."
    assert summary_of(function) == "A function with a docstring."
    assert (
        summary_of(Derived)
        == summary_of(Derived())
        == "A plug-in is one new file or one entry point; nothing else needs to change."
    )
    things: Registry[Any] = Registry("thing", "edgeproof.stages.statistics")
    things.register("one", summary="Said where it is filed.")(Documented)
    things.family("power_", form="power_<exponent>", members=lambda: ())(function)
    assert [(each.name, each.summary) for each in things.describe()] == [
        ("one", "Said where it is filed."),
        ("power_<exponent>", "A function with a docstring."),
    ]


def test_a_single_module_can_hold_all_of_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "things_of_a_test.py").write_text(
        "from edgeproof.core.registry import Registry\n"
        "things = Registry('thing', __name__)\nthings.register('one')('the first')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert __import__("things_of_a_test").things.names() == ["one"]
    sys.modules.pop("things_of_a_test")


def test_a_name_is_taken_once():
    things: Registry[str] = Registry("thing", "edgeproof.stages.data")
    things.register("one")("the first")
    with pytest.raises(ValueError, match="twice"):
        things.register("one")("the second")


def test_an_unknown_name_lists_the_known_ones():
    things: Registry[str] = Registry("thing", "edgeproof.stages.data")
    things.register("one")("the first")
    with pytest.raises(UsageError, match=r"unknown thing 'ome'; did you mean 'one'\? \(known: one\)"):
        things["ome"]


def test_a_users_function_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_things.py").write_text("def mine():\n    return 7\n\nnot_a_function = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    registry: Registry[Any] = Registry("thing", "edgeproof.stages.data", functions=True)
    assert registry["my_things:mine"]() == 7
    with pytest.raises(UsageError, match="my_things has no function 'not_a_function'"):
        registry["my_things:not_a_function"]
    with pytest.raises(UsageError, match="the module missing_things does not import: No module named"):
        registry["missing_things:mine"]


def test_a_users_module_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "failing_things.py").write_text("raise RuntimeError('first line\\nsecond')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    registry: Registry[Any] = Registry("thing", "edgeproof.stages.data", functions=True)
    with pytest.raises(UsageError, match=r"does not import: first line \(failing_things.py, line 1\)$"):
        registry["failing_things:mine"]


def test_a_family_makes_its_members_from_the_rest_of_the_name():
    things: Registry[int] = Registry("thing", "edgeproof.stages.data")

    @things.family("power_", form="power_<exponent>", members=lambda: ("power_2", "power_10"))
    def power(rest: str) -> int:
        if not rest.isdigit():
            raise KeyError(rest)
        if int(rest) > 10:
            raise UsageError(f"thing 'power_{rest}': at most 10")
        return 2 ** int(rest)

    things.register("power_0")(7)
    assert things["power_3"] == 8
    assert things["power_0"] == 7  # a registered name comes first
    with pytest.raises(
        UsageError, match=r"^unknown thing 'power_1o'; did you mean 'power_10'\? \(the form is power_<exp"
    ):
        things["power_1o"]
    with pytest.raises(UsageError, match=r"^thing 'power_11': at most 10$"):
        things["power_11"]
    with pytest.raises(UsageError, match=r"^unknown thing 'root_2' \(known: power_0, power_<exponent>\)$"):
        things["root_2"]
    with pytest.raises(ValueError, match="at most 10"):
        things.check("power_11")
