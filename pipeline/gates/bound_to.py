"""Binding of gates to a threat model, a data set and an attack: a run of anything easier fails them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from ...core.config import Config
from ...core.reading.counted import counted
from ...stages.norms.base import NormName
from ...stages.threat import Radius
from ...stages.verify.effort import STANDARD, weaker
from .result import GateResult

KEY = "bound_to"


class BoundTo(Config):
    """What a run must have been for its gates to mean what they say; what is left out is not asked.

    Attributes:
        norm: of the threat model.
        eps: its radius, exactly.
        dataset: the data set's name, or its digest, which other images of that name do not have.
        samples: how many test images at least; of a run that stopped early, of how many it speaks.
        effort: `standard`: no setting of the attacks weaker than edgeproof's own.
    """

    norm: NormName | None = None
    eps: Radius | None = None
    dataset: str | None = None
    samples: int | None = Field(default=None, ge=1)
    effort: Literal["standard"] | None = None

    def over(self, other: BoundTo) -> BoundTo:
        """This one, with the other's where it says nothing."""
        return other.model_copy(update=self.asked)

    @property
    def asked(self) -> dict[str, Any]:
        """The keys that are set."""
        return self.model_dump(exclude_none=True)


NOTHING = BoundTo()


def bindings(bound: BoundTo, data: Mapping[str, Any]) -> tuple[GateResult, ...]:
    """Hold a run against what its gates are bound to: a gate of its own for each key, `bound_to.eps` and so on.

    Args:
        bound: what is asked.
        data: the content of the run's report.
    """
    return tuple(
        _result(key, limit, [each for each in _CHECKS[key](limit, data) if each]) for key, limit in bound.asked.items()
    )


def is_binding(gate: Mapping[str, Any]) -> bool:
    """Whether an entry of a report's `gates` is one of these."""
    return str(gate.get("name", "")).startswith(f"{KEY}.")


def _result(key: str, limit: Any, wrong: Sequence[str]) -> GateResult:
    shown = f"{limit:.10g}" if isinstance(limit, float) else str(limit)
    text = f">= {shown}" if key == "samples" else f"= {shown}"
    reason = f"{'; '.join(wrong)}; the gates are bound to {shown}" if wrong else ""
    return GateResult(f"{KEY}.{key}", text, None, None, "fail" if wrong else "pass", reason)


def _of_threat(key: str) -> Callable[[Any, Mapping[str, Any]], Iterator[str]]:
    def check(limit: Any, data: Mapping[str, Any]) -> Iterator[str]:
        found = data.get("threat_model", {}).get(key)
        if found != limit:
            yield f"the run's {key} is {found}"

    return check


def _of_dataset(limit: str, data: Mapping[str, Any]) -> Iterator[str]:
    dataset = data.get("dataset") or {}
    if limit not in (dataset.get("name"), dataset.get("digest")):
        yield f"the run's data set is {dataset.get('name')} ({dataset.get('digest')})"


def _of_samples(limit: int, data: Mapping[str, Any]) -> Iterator[str]:
    for subject in data["subjects"]:
        if subject["kind"] != "engine":
            continue
        count = subject.get("sequential", {}).get("population", subject.get("samples", 0))
        if count < limit:
            yield f"{subject['name']} was attacked on {counted(count, 'sample')}"


def _of_effort(_: str, data: Mapping[str, Any]) -> Iterator[str]:
    settings = data.get("verify")
    if not settings:
        yield "the run does not tell how it was attacked"
        return
    for key in weaker(settings):
        yield f"verify.{key} is {settings.get(key)}, weaker than {STANDARD[key]}"


_CHECKS: dict[str, Callable[[Any, Mapping[str, Any]], Iterator[str]]] = {
    "norm": _of_threat("norm"),
    "eps": _of_threat("eps"),
    "dataset": _of_dataset,
    "samples": _of_samples,
    "effort": _of_effort,
}
