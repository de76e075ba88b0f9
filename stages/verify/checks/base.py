"""Sanity checks of an attack's evaluation: the contract of a check, their registry, and what they find together.

A model that nobody can look into may fool its attacks; each check counts what an honest model does not do. Source of
most: Carlini et al., "On Evaluating Adversarial Robustness", 2019 (arXiv 1902.06705).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from ....core.errors import EdgeproofError, StageError, UsageError, raised
from ....core.registry import Registry
from ..evidence.candidates import Candidates
from ..evidence.counts import Counter, Counts

if TYPE_CHECKING:
    from ....targets.base import Logits
    from ...threat import ThreatModel
    from ..evidence.repeat_queries import RepeatQueries
    from ..evidence.shard_result import ShardResult
    from ..routes.base import Batch, Context
    from ..subject.subject import OpenedSubject

C = TypeVar("C", bound=Counter)
T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """One reason for doubt: a name, a sentence, and whether it makes the verdict inconclusive."""

    name: str
    sentence: str
    inconclusive: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}"


@dataclass(frozen=True)
class Row:
    """A line of the page about counters of a check: what was asked, of how many, what came out, how often.

    Attributes:
        asked: in words.
        of: the counter that says of how many; the line is left out where it is 0. None where there is none.
        outcome: in words.
        count: the counter that says how often.
    """

    asked: str
    of: str | None
    outcome: str
    count: str


@dataclass(frozen=True)
class Shard:
    """A shard after its attacks, as a check sees it.

    Attributes:
        context: the opened subject, the ball, how hard to try, candidates of other subjects.
        batch: the samples.
        result: which of them withstood what, and every candidate.
        clean: `[N, K]` the logits of the clean images, asked for before anything else.
        before: what else was asked before the attacks.
    """

    context: Context
    batch: Batch
    result: ShardResult
    clean: Logits
    before: RepeatQueries
    _known: dict[Callable[[Shard], Any], Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def opened(self) -> OpenedSubject:
        """The opened subject."""
        return self.context.opened

    @property
    def threat(self) -> ThreatModel:
        """The ball."""
        return self.context.threat

    def add(self, found: Iterable[Candidates]) -> None:
        """Keep further candidates, for replay elsewhere."""
        shape = tuple(self.batch.images.shape[1:])
        self.result.candidates = Candidates.join([self.result.candidates, *found], shape)

    def once(self, work: Callable[[Shard], T]) -> T:
        """What a function of this shard returns, called once, whichever checks ask: for attacks that several share."""
        if work not in self._known:
            self._known[work] = work(self)
        return cast(T, self._known[work])


@dataclass(frozen=True)
class Tally:
    """All that was counted on a subject: what a check judges by.

    Attributes:
        counts: of all checks.
        warnings: of its attacks.
        samples: that were attacked.
        unstable: the data-set rows of those that count as broken for being answered otherwise in another batch.
    """

    counts: Counts
    warnings: frozenset[str]
    samples: int = 0
    unstable: Sequence[int] = ()


class Check(ABC, Generic[C]):
    """One thing that is held against the result; registers itself under its name.

    Attributes:
        name: as the report names its findings.
        counts: the class of its counter, whose fields have names that no other check uses.
        rows: how the page shows the counter; a field that no row names has a row of its own.
        rank: its place in the order, which a model that remembers its questions can tell; those of others come last.
        attacks: whether it attacks once more; what it finds is then rounded to 8 bits like the routes' candidates.
    """

    name: ClassVar[str]
    counts: type[C]
    rows: ClassVar[Sequence[Row]] = ()
    rank: ClassVar[int] = 1000
    attacks: ClassVar[bool] = False

    @abstractmethod
    def count(self, shard: Shard) -> C:
        """Question a shard; torch and all that needs it is imported here, since the report needs none."""

    @abstractmethod
    def judge(self, counts: C, tally: Tally) -> Iterable[Finding]:
        """Say what speaks against a subject.

        Args:
            counts: this check's, of all shards.
            tally: those of all checks, for what one says about another.
        """


checks: Registry[Check[Any]] = Registry(
    "check", "edgeproof.stages.verify.checks", "edgeproof.checks", instances_of=Check
)


def in_order() -> list[Check[Any]]:
    """All checks, in the order in which they question a shard.

    Raises:
        UsageError: one of somebody else's does not load, or has a second name; a result that was not questioned by it
            would look better than it is.
    """
    found = {name: checks[name] for name in checks.names()}
    for name, check in found.items():
        if check.name != name:
            raise UsageError(f"the check {name!r} calls itself {check.name!r}; register it under that name")
    return _sorted(found.values())


def _sorted(found: Iterable[Check[Any]]) -> list[Check[Any]]:
    return sorted(found, key=lambda check: (check.rank, check.name))


def modules() -> list[str]:
    """The modules of all checks, for the digest of the code that attacks: no import statement leads to them."""
    return sorted({type(check).__module__ for check in in_order()})


def question(shard: Shard, *, attacks: bool) -> None:
    """Count what the checks count that attack, or those that do not.

    Raises:
        StageError: a check fails, which somebody else may have written.
    """
    for check in in_order():
        if check.attacks is attacks:
            try:
                counter = check.count(shard)
            except EdgeproofError:
                raise
            except Exception as error:
                raise StageError(f"check {check.name}: {raised(error)}") from error
            if not isinstance(counter, check.counts):
                raise StageError(f"check {check.name}: it counts {check.counts.__name__}, and returned {counter!r}")
            shard.result.counts.put(counter)


def total(counts: Sequence[Counts]) -> Counts:
    """The counts of a subject, from those of its shards."""
    kinds = [check.counts for check in in_order()]
    return Counts(*(reduce(add, (each[kind] for each in counts), kind()) for kind in kinds))


def find(counts: Counts, warnings: Iterable[str], samples: int = 0, unstable: Sequence[int] = ()) -> list[Finding]:
    """Judge what was counted on all shards of a subject; see `Tally`."""
    tally = Tally(counts, frozenset(warnings), samples, unstable)
    return [finding for check in in_order() for finding in check.judge(counts[check.counts], tally)]


def as_json(counts: Counts) -> dict[str, dict[str, Any]]:
    """Each check's `counts`, and its `rows` for the page; see `rows_of`."""
    return {
        check.name: {"counts": asdict(counts[check.counts]), "rows": rows_of(check, counts[check.counts])}
        for check in in_order()
        if fields(check.counts)
    }


def rows_of(check: Check[C], counter: C) -> list[tuple[str, int | None, str, int]]:
    """A check's rows: what was asked, of how many (None where that says nothing), what came out, how often."""
    shown = {name for row in check.rows for name in (row.of, row.count)}
    others = [field.name for field in fields(check.counts) if field.name not in shown]
    rows = [*check.rows, *(Row(check.name, None, name.replace("_", " "), name) for name in others)]
    return [
        (row.asked, None if row.of is None else getattr(counter, row.of), row.outcome, getattr(counter, row.count))
        for row in rows
    ]


def rows_of_counts(flat: Mapping[str, int]) -> list[tuple[str, int | None, str, int]]:
    """The rows of a run of edgeproof 0.1, which has the counters of all checks in one mapping."""
    found: list[tuple[str, int | None, str, int]] = []
    for check in _sorted(checks.loaded().values()):
        known = {field.name: flat[field.name] for field in fields(check.counts) if field.name in flat}
        if known:
            found += rows_of(check, check.counts(**known))
    return found
