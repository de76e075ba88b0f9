"""Rule registry of the linter, filled by the modules in `rules/`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...targets.base import Scheme
from .finding import Severity, Violation
from .reading import Reading

#: Yields the name of a node and what is wrong with it.
Check = Callable[[Reading, Scheme], Iterator[tuple[str, str]]]


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong.

    Attributes:
        name: short name, for people, for `Scheme.refuses` and for `Scheme.accepts`.
        says: what it looks for, in one line.
        severity: of its findings, where the scheme's target does not refuse what it looks for.
        quantized_only: says nothing of a graph that is not quantized.
        check: finds them.
    """

    name: str
    says: str
    severity: Severity
    quantized_only: bool
    check: Check

    def findings(self, reading: Reading, scheme: Scheme) -> list[Violation]:
        """Look for it in a graph."""
        if self.name in scheme.accepts or (self.quantized_only and not reading.quantizers):
            return []
        severity = "error" if self.name in scheme.refuses else self.severity
        return [Violation(self.name, severity, node, message) for node, message in self.check(reading, scheme)]


RULES: list[Rule] = []


def rule(
    name: str, says: str, severity: Severity = "warning", *, quantized_only: bool = True
) -> Callable[[Check], Check]:
    """Return a decorator that files a check under a name."""

    def file_under(check: Check) -> Check:
        if any(known.name == name for known in RULES):
            raise ValueError(f"rule {name!r} is registered twice")
        RULES.append(Rule(name, says, severity, quantized_only, check))
        return check

    return file_under
