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

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.atomic_write import write_atomically
from ...core.errors import UsageError
from ...core.reading.json_text import read_json
from ..figures.base import ROBUST
from .record import Record, SubjectRecord

VERSION = 1
_MARK = "edgeproof_baseline"
_CHECKSUM = "checksum"
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
        except (OSError, ValueError):
            raise UsageError(f"--baseline {path}: not a baseline (no valid JSON); it may be truncated") from None
        if not isinstance(content, dict) or _MARK not in content:
            raise UsageError(f"--baseline {path}: not a baseline; `edgeproof gate RUN --update-baseline` writes one")
        if content[_MARK] != VERSION:
            raise UsageError(f"--baseline {path}: version {content[_MARK]!r}, this edgeproof reads {VERSION}")
        if content.get(_CHECKSUM) != _checksum(content):
            raise UsageError(
                f"--baseline {path}: altered since it was written (its checksum differs); "
                "make it anew with --update-baseline"
            )
        try:
            return cls(path, content[_CHECKSUM], _record(content))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"--baseline {path}: not a baseline of this version ({error!r})") from None


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
    content: dict[str, Any] = {
        _MARK: VERSION,
        **{key: getattr(record, key) for key in _PLAIN},
        "samples": max((len(subject.rows) for subject in record.subjects.values()), default=0),
        "rows": common,
        "subjects": {
            name: _subject_content(subject) | ({} if rows[name] == common else {"rows": rows[name]})
            for name, subject in record.subjects.items()
        },
    }
    content[_CHECKSUM] = _checksum(content)
    return json.dumps(content, indent=1) + "\n", content[_CHECKSUM]


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


def _record(content: Mapping[str, Any]) -> Record:
    subjects = {
        name: _subject(name, entry, rows_of(entry.get("rows", content["rows"])))
        for name, entry in content["subjects"].items()
    }
    return Record(**{key: content[key] for key in _PLAIN}, subjects=subjects)


_NO_ABOUT = ("kind", "sequential", "figures", "routes", "accuracies", "bits", "rows")


def _subject(name: str, entry: Mapping[str, Any], rows: np.ndarray) -> SubjectRecord:
    routes = tuple(entry["routes"].split())
    bits = {key: _bits(text, len(rows)) for key, text in entry["bits"].items()}
    if routes:
        bits[routes[-1]] = bits[ROBUST]
    return SubjectRecord(
        name=name,
        kind=entry["kind"],
        about={key: value for key, value in entry.items() if key not in _NO_ABOUT},
        rows=rows,
        bits=bits,
        routes=routes,
        figures={
            key: (figure["value"], (figure["low"], figure["high"]) if "low" in figure else None)
            for key, figure in entry["figures"].items()
        },
        sequential=entry["sequential"],
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
    """Read what `ranges` wrote, as int [N]."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return np.array(found, int)


def _checksum(content: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in content.items() if key != _CHECKSUM}
    return "sha256:" + hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
