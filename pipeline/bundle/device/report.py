"""Device report, `device-report.json`: what an engine did with a bundle's adversarial examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import UsageError
from ....core.reading.json_text import read_json
from .outcome import DeviceBits

DEVICE_REPORT = "device-report.json"
KIND = "edgeproof device report"
SCHEMA_VERSION = 1
_TEXTS = ("device", "outcome")
_MAPPINGS = ("bundle", "proof", "engine", "versions", "bits")
_ORIGINS = ("bundle", "built", "given", "answers")


def write_bits(bits: DeviceBits) -> dict[str, Any]:
    """Bits as JSON-able data: rows as numbers, bits as strings of 0 and 1."""
    found = {"index": bits.index.tolist(), "clean": _digits(bits.clean), "robust": _digits(bits.robust)}
    return found if bits.robust_8bit is None else {**found, "robust_8bit": _digits(bits.robust_8bit)}


def read_device_report(path: Path) -> tuple[dict[str, Any], DeviceBits]:
    """Read a device report.

    Raises:
        UsageError: it is missing, broken, or not what `edgeproof replay` writes.
    """
    try:
        found = read_json(path)
        if found["kind"] != KIND:
            raise ValueError
        if found["schema_version"] != SCHEMA_VERSION:
            raise UsageError(
                f"{path}: schema_version {found['schema_version']!r}, this edgeproof reads {SCHEMA_VERSION}"
            )
        _check(found)
        return found, _read_bits(found["bits"])
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; `edgeproof replay BUNDLE` writes it on the device") from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        raise UsageError(f"{path}: not what `edgeproof replay BUNDLE` writes, or altered") from None


def _check(found: Mapping[str, Any]) -> None:
    texts = all(isinstance(found[key], str) for key in _TEXTS)
    mappings = all(isinstance(found[key], dict) for key in _MAPPINGS)
    if not texts or not mappings or found["engine"]["origin"] not in _ORIGINS:
        raise TypeError
    if not isinstance(found["engine"]["sha256"], str):
        raise TypeError


def _read_bits(found: Mapping[str, Any]) -> DeviceBits:
    index = np.array(found["index"], dtype=np.int64)
    eight_bit = found.get("robust_8bit")
    clean, robust = _bools(found["clean"]), _bools(found["robust"])
    rounded = None if eight_bit is None else _bools(eight_bit)
    columns = [column for column in (clean, robust, rounded) if column is not None]
    if index.ndim != 1 or any(len(column) != len(index) for column in columns):
        raise ValueError
    return DeviceBits(index, clean, robust, rounded)


def _digits(bits: np.ndarray) -> str:
    return "".join("1" if bit else "0" for bit in bits)


def _bools(digits: str) -> np.ndarray:
    if set(digits) - {"0", "1"}:
        raise ValueError
    return np.array([digit == "1" for digit in digits], dtype=bool)
