"""Plan record, `<plan>.json`: what the plan is, sealed, because loading a plan runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ....core.errors import StageError
from ....core.reading.json_text import read_json
from ...gpu import Gpu
from .seal import KEY_VARIABLE, key_file, seal, sealed_here

_FORMAT = 1
_AGAIN = "build it again from the ONNX file"


@dataclass(frozen=True)
class Sheet:
    """What a plan is.

    Attributes:
        target: by which target it was built.
        plan_sha256: the plan's own digest.
        onnx_sha256: of the ONNX file that it was built from.
        version: of the library that built it.
        gpu: on which GPU it was built; None where none was needed.
        options: what differs from the target's own options.
        weight_bytes: what its weights take on the GPU; None where the builder did not say.
        timing_cache_sha256: of the timings that it was built with; None where there are none.
    """

    target: str
    plan_sha256: str
    onnx_sha256: str
    version: str
    gpu: Gpu | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    weight_bytes: int | None = None
    timing_cache_sha256: str | None = None

    def write(self, plan: Path) -> None:
        """Seal it and put it beside the plan.

        Raises:
            UsageError: there is no key to seal it with.
        """
        content = {"format": _FORMAT, **asdict(self)}
        content["seal"] = seal(_canonical(content))
        sheet_of(plan).write_text(json.dumps(content, indent=1))


def sheet_of(plan: Path) -> Path:
    """Where a plan's sheet is."""
    return plan.with_name(plan.name + ".json")


def read_sheet(plan: Path, plan_sha256: str) -> Sheet:
    """Read the sheet of a plan whose content has this digest.

    Raises:
        StageError: there is none, it was changed or made elsewhere, or it is another plan's.
        UsageError: the key of its seal cannot be read.
    """
    path = sheet_of(plan)
    try:
        content = read_json(path)
        given = content.pop("seal")
        if content.pop("format") != _FORMAT:
            raise ValueError("of another version of edgeproof")
        gpu = content["gpu"]
        sheet = Sheet(**{**content, "gpu": None if gpu is None else Gpu(**gpu)})
    except FileNotFoundError:
        raise StageError(
            f"{plan}: a plan is executable code and is loaded only with {path.name}, which its build wrote beside it; "
            + _AGAIN
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageError(f"{path}: not what a build writes beside a plan ({error}); {_AGAIN}") from None
    if not sealed_here(_canonical({"format": _FORMAT, **content}), str(given)):
        raise StageError(
            f"{path}: not sealed with the key {key_file()}: the plan was built elsewhere, or this was changed; "
            f"{_AGAIN}, or set {KEY_VARIABLE} to the key file of the machine that built it"
        )
    if sheet.plan_sha256 != plan_sha256:
        raise StageError(
            f"{plan}: its SHA-256 is {plan_sha256}, {path.name} is of a plan with {sheet.plan_sha256}; {_AGAIN}"
        )
    return sheet


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
