"""Plug-in registry: one new file that registers itself, or an entry point, is all a new name needs."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from .errors import UsageError, reason_of
from .function import is_function, load_function

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known name, or an empty string."""
    names = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f"; did you mean {names[close[0]]!r}?" if close else ""


@dataclass(frozen=True)
class Family(Generic[T]):
    """Names that share a prefix, each made from the rest of the name.

    Attributes:
        prefix: how every member's name begins.
        form: how a member is written, for messages (`wrn_<depth>_<width>`).
        members: known members' full names, to suggest one from.
        resolve: makes a member from the rest of its name; KeyError where there is none.
    """

    prefix: str
    form: str
    members: Callable[[], Iterable[str]]
    resolve: Callable[[str], T]


@dataclass(frozen=True)
class Description:
    """One entry of a registry, for people who choose.

    Attributes:
        name: its name, or the form of a family's names.
        summary: the first line of its docstring.
        origin: the distribution or the package that it comes from; None for edgeproof's own.
        problem: why it cannot be used; None where it can.
    """

    name: str
    summary: str
    origin: str | None = None
    problem: str | None = None


class Registry(Generic[T]):
    """Names of one kind of plug-in, filled by the modules of a package and by an entry-point group.

    What a third party adds is imported when somebody asks for it by its name: a broken one harms nobody else.

    Args:
        kind: what one entry is called in messages ("dataset", "method", ...).
        package: the package whose modules register themselves when imported, or the one module that does.
        group: the entry-point group through which third parties add theirs, if there is one.
        functions: whether `package.module:function` names a user's own entry.
        instances_of: what a third party's entry must be; any object when None.

    Attributes:
        kind: as given.
        group: as given.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        group: str | None = None,
        *,
        functions: bool = False,
        instances_of: type | None = None,
    ) -> None:
        self.kind = kind
        self._functions = functions
        self._instances_of = instances_of
        self._package = package
        self.group = group
        self._entries: dict[str, T] = {}
        self._summaries: dict[str, str] = {}
        self._families: list[Family[T]] = []
        self._points: dict[str, EntryPoint] = {}
        self._loaded = False

    def register(self, name: str, *, summary: str | None = None) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`; a name can be taken only once.

        Args:
            name: the name.
            summary: one line on it; the first of its docstring when left out.
        """

        def file_under(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            if summary is not None:
                self._summaries[name] = summary
            return entry

        return file_under

    def family(
        self, prefix: str, *, form: str, members: Callable[[], Iterable[str]]
    ) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
        """Return a decorator that files a function as the one that knows all names with a prefix; see `Family`."""

        def file_under(resolve: Callable[[str], T]) -> Callable[[str], T]:
            self._families.append(Family(prefix, form, members, resolve))
            return resolve

        return file_under

    def names(self) -> list[str]:
        """Every known name, sorted; third parties' are known before they are loaded."""
        self._load()
        return sorted(self._entries.keys() | self._points.keys())

    def describe(self) -> list[Description]:
        """Every entry with one line on it, by name, then the families; a broken one says why."""
        found: list[Description] = []
        for name in self.names():
            origin = _distribution(self._points[name]) if name in self._points else None
            try:
                entry = self[name]
            except UsageError as error:
                found.append(Description(name, "", origin, str(error)))
                continue
            found.append(Description(name, self._summaries.get(name) or summary_of(entry), origin or _package(entry)))
        for family in self._families:
            found.append(Description(family.form, summary_of(family.resolve), _package(family.resolve)))
        return found

    def loaded(self) -> dict[str, T]:
        """Every entry that loads, by name; for lists, where a broken one of somebody else's must not be in the way."""
        found: dict[str, T] = {}
        for name in self.names():
            with suppress(UsageError):
                found[name] = self[name]
        return found

    def __getitem__(self, name: str) -> T:
        if self._functions and is_function(name):
            return cast(T, load_function(name, self.kind))
        self._load()
        if name in self._points and name not in self._entries:
            self._entries[name] = self._third_party(self._points[name])
        if name in self._entries:
            return self._entries[name]
        for family in self._families:
            if name.startswith(family.prefix):
                return self._member(family, name)
        known = [*self.names(), *(family.form for family in self._families)]
        guess = nearest(name, known) or self._as_function(name)
        raise UsageError(f"unknown {self.kind} {name!r}{guess} (known: {', '.join(known)})")

    def _as_function(self, name: str) -> str:
        """What a name may mean that looks like one of Python."""
        module, dot, own = name.rpartition(".")
        looks_so = self._functions and dot and all(part.isidentifier() for part in name.split("."))
        return f"; one of your own is written {module}:{own}" if looks_so else ""

    def check(self, name: str) -> str:
        """Return `name` if it is known; a validator for config models, so it raises ValueError."""
        try:
            self[name]
        except UsageError as error:
            raise ValueError(str(error)) from None
        return name

    def _member(self, family: Family[T], name: str) -> T:
        rest = name.removeprefix(family.prefix)
        try:
            return family.resolve(rest)
        except KeyError:
            # The prefix is common to all, so it says nothing of which is near.
            rests = [known.removeprefix(family.prefix) for known in family.members()]
            close = difflib.get_close_matches(rest, rests, n=1, cutoff=0.5)
            guess = f"; did you mean {family.prefix + close[0]!r}?" if close else ""
            raise UsageError(f"unknown {self.kind} {name!r}{guess} (the form is {family.form})") from None

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self._package}.{module.name}")
        for point in entry_points(group=self.group) if self.group else ():
            if point.name not in self._entries:
                self._points.setdefault(point.name, point)

    def _third_party(self, point: EntryPoint) -> T:
        plugin = f"the plug-in {self.kind} {point.name!r} ({point.value})"
        try:
            found = point.load()
        except (Exception, SystemExit) as error:  # theirs may fail in any way, and end with a code of ours
            raise UsageError(f"{plugin} does not load: {reason_of(error)}") from error
        if self._instances_of is not None and not isinstance(found, self._instances_of):
            raise UsageError(f"{plugin} is of type {type(found).__name__}, no {self._instances_of.__name__}")
        return found


def summary_of(entry: Any) -> str:
    """The first line of what an entry says of itself: of its docstring, its class's, or its module's."""
    if inspect.isroutine(entry):
        said = entry.__doc__
    else:
        # Not `entry.__doc__`: a class would show its base's, and an instance its class's before its own module's.
        own = [entry] if inspect.isclass(entry) else [entry, type(entry)]
        said = next((text for each in own if (text := getattr(each, "__dict__", {}).get("__doc__"))), None)
    said = said or getattr(inspect.getmodule(entry) or inspect.getmodule(type(entry)), "__doc__", None) or ""
    return next((line.strip() for line in said.splitlines() if line.strip()), "")


def _distribution(point: EntryPoint) -> str:
    return point.value.partition(":")[0].partition(".")[0] if point.dist is None else point.dist.name


def _package(entry: Any) -> str | None:
    """The package of an entry that registered itself; None for edgeproof's own."""
    module = getattr(entry, "__module__", None) or type(entry).__module__
    package = module.partition(".")[0]
    return None if package == "edgeproof" else package
