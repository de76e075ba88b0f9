"""Plug-in registries: one new file that registers itself is all that a new name needs."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from .errors import UsageError
from .function import is_function, load_function

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


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


class Registry(Generic[T]):
    """Names of one kind of plug-in, filled by the modules of a package and by an entry-point group.

    Args:
        kind: what one entry is called in messages ("dataset", "method", ...).
        package: the package whose modules register themselves when imported.
        group: the entry-point group through which third parties add theirs, if there is one.
        functions: whether `package.module:function` names a user's own entry.
    """

    def __init__(self, kind: str, package: str, group: str | None = None, *, functions: bool = False) -> None:
        self.kind = kind
        self._functions = functions
        self._package = package
        self._group = group
        self._entries: dict[str, T] = {}
        self._families: list[Family[T]] = []
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`; a name can be taken only once."""

        def file_under(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
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
        """Every known name, sorted."""
        self._load()
        return sorted(self._entries)

    def __getitem__(self, name: str) -> T:
        if self._functions and is_function(name):
            return cast(T, load_function(name, self.kind))
        self._load()
        if name in self._entries:
            return self._entries[name]
        for family in self._families:
            if name.startswith(family.prefix):
                return self._member(family, name)
        known = [*self.names(), *(family.form for family in self._families)]
        raise UsageError(f"unknown {self.kind} {name!r}{nearest(name, known)} (known: {', '.join(known)})")

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
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self._package}.{module.name}")
        for point in entry_points(group=self._group) if self._group else ():
            if point.name not in self._entries:
                self._entries[point.name] = self._third_party(point)

    def _third_party(self, point: EntryPoint) -> T:
        try:
            return point.load()
        except Exception as error:  # theirs may fail in any way
            self._loaded = False
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UsageError(
                f"the plug-in {self.kind} {point.name!r} ({point.value}) does not load: {reason}"
            ) from error
