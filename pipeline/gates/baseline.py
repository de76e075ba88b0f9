"""Baseline file: the record of a run as a small text file that is committed beside the recipe.

    {"edgeproof_baseline": 1, "name": …, "dataset": …, …
     "rows": "10,24,28,34-35,…",
     "subjects": {"student": {…, "bits": {"clean_correct": "fffe…", "robust": "f7fe…"}}, "onnxruntime": {…}},
     "checksum": "sha256:…"}

One key a line, so that a diff shows what changed. `rows` are data-set rows, ascending, with ranges; bits are in the
same order, four a hexadecimal digit, the first one the highest; `robust` is what the last route left. The checksum is
of everything else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...core.atomic_write import write_atomically
from ...core.config import what_is_wrong
from ...core.errors import UsageError, reason_of
from ...core.reading.checksum import CHECKSUM, is_whole, with_checksum
from ...core.reading.json_text import read_json
from ..figures.base import ROBUST
from .bound_to import KEY, BoundTo
from .record import Record, SubjectRecord

VERSION = 1
_MARK = "edgeproof_baseline"
_RANGES = re.compile(r"(?:\d{1,12}(?:-\d{1,12})?(?:,\d{1,12}(?:-\d{1,12})?)*)?")
_MOST_ROWS = 10_000_000
_PLAIN = ("name", "verdict", "threat", "dataset", "attacks", "settings", "seed", "edgeproof", "machine")


@dataclass(frozen=True)
class Baseline:
    """A record that was read from a file.

    Attributes:
        path: the file.
        checksum: `sha256:…` of its content.
        record: what it holds.
    """

    path: Path
    checksum: str
    record: Record

    @classmethod
    def load(cls, path: Path) -> Baseline:
        """Read a baseline.

        Raises:
            UsageError: it is missing, no baseline, of another version, or not as it was written.
        """
        try:
            content = read_json(path)
        except FileNotFoundError:
            raise UsageError(
                f"--baseline {path}: no such file; --update-baseline makes it from a run that passes"
            ) from None
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--baseline {path}: not a baseline (no valid JSON); it may be truncated: {reason_of(error)}"
            ) from None
        if not isinstance(content, dict) or _MARK not in content:
            raise UsageError(f"--baseline {path}: not a baseline; `edgeproof gate RUN --update-baseline` writes one")
        if content[_MARK] != VERSION:
            raise UsageError(f"--baseline {path}: version {content[_MARK]!r}, this edgeproof reads {VERSION}")
        if not is_whole(content):
            raise UsageError(
                f"--baseline {path}: altered since it was written (its checksum differs); "
                "make it anew with --update-baseline"
            )
        try:
            return cls(path, content[CHECKSUM], _record(_Content.model_validate(content)))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(map(str, problem["loc"]))
            raise UsageError(
                f"--baseline {path}: not a baseline of this version ({where}: {what_is_wrong(problem)})"
            ) from None
        except ValueError as error:
            raise UsageError(f"--baseline {path}: not a baseline of this version ({error})") from None


def save(record: Record, path: Path) -> str:
    """Write a record as a baseline, whole or not at all, and return its checksum.

    Raises:
        UsageError: it cannot be written there.
    """
    text, checksum = _text(record)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"--baseline {path}: cannot be written ({error.strerror})") from None
    return checksum


def _text(record: Record) -> tuple[str, str]:
    rows = {name: ranges(subject.rows) for name, subject in record.subjects.items()}
    common = next(iter(rows.values()), "")
    content = with_checksum(
        {
            _MARK: VERSION,
            **{key: getattr(record, key) for key in _PLAIN},
            **({KEY: record.bound_to.asked} if record.bound_to.asked else {}),
            "samples": max((len(subject.rows) for subject in record.subjects.values()), default=0),
            "rows": common,
            "subjects": {
                name: _subject_content(subject) | ({} if rows[name] == common else {"rows": rows[name]})
                for name, subject in record.subjects.items()
            },
        }
    )
    return json.dumps(content, indent=1) + "\n", content[CHECKSUM]


def _subject_content(subject: SubjectRecord) -> dict[str, Any]:
    columns = dict(subject.bits)
    if subject.routes:
        del columns[subject.routes[-1]]  # the same as `robust`
    return {
        "kind": subject.kind,
        **subject.about,
        "sequential": subject.sequential,
        "figures": {
            name: {"value": value} | ({} if interval is None else {"low": interval[0], "high": interval[1]})
            for name, (value, interval) in subject.figures.items()
        },
        "routes": " ".join(subject.routes),
        "accuracies": {key: round(float(bits.mean()), 6) for key, bits in columns.items()},
        "bits": {key: np.packbits(bits).tobytes().hex() for key, bits in columns.items()},
    }


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


_Number = Annotated[float, Field(ge=-1e15, le=1e15)]


class _Figure(_Part):
    value: _Number
    low: _Number | None = None
    high: _Number | None = None


class _Subject(_Part):
    """A subject as the file has it; what is not named here is said about it."""

    kind: Literal["engine", "torch"]
    sequential: bool
    figures: dict[str, _Figure]
    routes: str
    accuracies: dict[str, Any] = {}
    bits: dict[str, Annotated[str, Field(pattern="^([0-9a-f]{2})*$")]]
    rows: str | None = None

    @model_validator(mode="after")
    def _with_its_columns(self) -> _Subject:
        for name in ("clean_correct", ROBUST):
            if name not in self.bits:
                raise ValueError(f"bits has no {name}")
        return self


class _Content(_Part):
    name: str
    verdict: str
    threat: dict[str, Any]
    dataset: dict[str, str | None]
    attacks: str
    settings: dict[str, Any]
    seed: Annotated[int, Field(ge=0)] | None
    edgeproof: str
    machine: dict[str, str | int | None]
    rows: str
    subjects: dict[str, _Subject]
    bound_to: BoundTo = Field(default_factory=BoundTo)


def _record(content: _Content) -> Record:
    subjects = {
        name: _subject(name, entry, rows_of(content.rows if entry.rows is None else entry.rows))
        for name, entry in content.subjects.items()
    }
    return Record(**{key: getattr(content, key) for key in _PLAIN}, subjects=subjects, bound_to=content.bound_to)


def _subject(name: str, entry: _Subject, rows: np.ndarray) -> SubjectRecord:
    routes = tuple(entry.routes.split())
    bits = {key: _bits(text, len(rows)) for key, text in entry.bits.items()}
    if routes:
        bits[routes[-1]] = bits[ROBUST]
    return SubjectRecord(
        name=name,
        kind=entry.kind,
        about=entry.model_extra or {},
        rows=rows,
        bits=bits,
        routes=routes,
        figures={
            key: (each.value, None if each.low is None or each.high is None else (each.low, each.high))
            for key, each in entry.figures.items()
        },
        sequential=entry.sequential,
    )


def _bits(text: str, count: int) -> np.ndarray:
    packed = np.frombuffer(bytes.fromhex(text), np.uint8)
    if len(packed) != -(-count // 8):
        raise ValueError(f"{len(packed)} bytes of bits for {count} rows")
    return np.unpackbits(packed, count=count).astype(bool)


def ranges(rows: np.ndarray) -> str:
    """Write ascending row numbers [N] as `3,7-9,12`."""
    if not len(rows):
        return ""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    return ",".join(
        str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in np.split(rows.astype(int), breaks)
    )


def rows_of(text: str) -> np.ndarray:
    """Read what `ranges` wrote, as int [N].

    Raises:
        ValueError: it is not that: numbers do not rise, or there are more than ten million.
    """
    if not _RANGES.fullmatch(text):
        raise ValueError("rows are numbers and ranges such as 3,7-9,12")
    parts = [tuple(map(int, part.split("-"))) for part in filter(None, text.split(","))]
    ends = [(part[0], part[-1]) for part in parts]
    if sum(last - first + 1 for first, last in ends) > _MOST_ROWS:
        raise ValueError(f"more than {_MOST_ROWS:,} rows")
    flat = [end for pair in ends for end in pair]
    if any(after < before for before, after in pairwise(flat)) or any(a[1] >= b[0] for a, b in pairwise(ends)):
        raise ValueError("rows do not rise")
    return np.concatenate([np.zeros(0, int), *(np.arange(first, last + 1) for first, last in ends)])
