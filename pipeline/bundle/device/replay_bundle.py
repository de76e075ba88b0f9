"""Bundle replay on the device: every adversarial example of the run shown to its engine (`edgeproof replay`).

Needs numpy and the engine's runtime, beside what the command line is made with; no torch, no onnx.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....core.atomic_write import write_atomically
from ....core.errors import UsageError
from ....core.versions import installed_versions
from ....targets.base import Engine, targets
from ...gates import EXIT_CODES
from ...results.report import Report
from ...store.machine import machine
from ..archive import opened
from ..check import checked_contents
from ..contents import BITS, BundledEngine
from ..gather import REPORT
from ..run_bits import run_bits
from .engine import engine_here, options_here
from .offline import Answers
from .outcome import outcome_of
from .report import DEVICE_REPORT, KIND, SCHEMA_VERSION, write_bits
from .show_examples import shape_of_images, shown_to

KEPT = "device-engines"
_PACKAGES = ("edgeproof", "numpy")
_WARMUP, _CALLS, _SECONDS = 10, 200, 2.0


@dataclass(frozen=True)
class _Asked:
    """Who answers: an engine, what the report says of it, and the versions that it runs on."""

    engine: Engine
    about: Mapping[str, Any]
    versions: Mapping[str, str]


def replay_bundle(
    bundle: str | Path,
    engine: str | Path | None = None,
    *,
    subject: str | None = None,
    target: str | None = None,
    options: Sequence[str] = (),
    logits: str | Path | None = None,
    device: str | None = None,
    out: str | Path = DEVICE_REPORT,
    keep: str | Path = KEPT,
) -> dict[str, Any]:
    """Show an engine on this device all adversarial examples of a bundle, and write the device's report.

    Args:
        bundle: a folder or an archive, as `make_bundle` writes it.
        engine: an engine file that was built on this device from the bundle's ONNX file; left out, the bundle's own,
            or one that is built here.
        subject: which engine of the bundle; its only one when left out.
        target: the runtime; the engine's own when left out.
        options: the runtime's, such as `hint=throughput`; those of the run when empty.
        logits: what a device answered to `export_images`, where edgeproof cannot run on it; no runtime is needed then.
        device: how the run's report will call this device; its processor when left out.
        out: where the device's report goes.
        keep: the folder that engines are kept in that are built here.

    Returns:
        The content of the device's report.

    Raises:
        UsageError: a file of the bundle is missing, altered or not listed, or an argument is wrong.
        BackendMissing: the runtime is not here.
        StageError: the runtime refuses the model.
    """
    with opened(Path(bundle)) as folder:
        contents = checked_contents(folder, Path(bundle))
        entry = contents.engine(subject)
        report, run = Report.load(folder / REPORT), run_bits(folder / BITS / f"{entry.reference}.npz")
        if logits is None:
            asking = _engine(folder, entry, target, options, engine, Path(keep))
        elif device is None:
            raise UsageError("--logits: name the device that they come from with --device")
        else:
            asking = nullcontext(_answers(Path(logits), shape_of_images(folder, contents), entry, target, engine))
        with asking as asked:
            bits, candidates = shown_to(asked.engine, folder, contents, run)
            if isinstance(asked.engine, Answers):
                asked.engine.check_all_used()
            here = machine()
            subjects = {each["name"]: each for each in report.subjects}
            result: dict[str, Any] = {
                "kind": KIND,
                "schema_version": SCHEMA_VERSION,
                "device": device or _board() or here["processor"] or here["architecture"],
                "bundle": {"name": contents.name, "sha256": contents.sha256, "run_verdict": contents.verdict},
                "proof": contents.proof(entry),
                "engine": asked.about,
                "machine": None if logits is not None else here,
                "versions": {
                    **asked.versions,
                    **dict.fromkeys(_PACKAGES, "not installed"),
                    **installed_versions(_PACKAGES),
                },
                "candidates": candidates,
                "latency_ms": None if logits is not None else _latency(asked.engine),
                **outcome_of(
                    bits,
                    run,
                    report.data.get("gates", ()),
                    attacked=entry.attacked,
                    sequential="sequential" in subjects.get(entry.reference, {}),
                ),
                "bits": write_bits(bits),
            }
            result["exit_code"] = EXIT_CODES[result["outcome"]]
            try:
                write_atomically(Path(out), json.dumps(result, indent=1) + "\n")
            except OSError as error:
                raise UsageError(f"--out {out}: cannot be written ({error.strerror})") from None
    return result


@contextmanager
def _engine(
    folder: Path,
    entry: BundledEngine,
    target: str | None,
    options: Sequence[str],
    given: str | Path | None,
    keep: Path,
) -> Iterator[_Asked]:
    """An engine that runs here."""
    runtime = targets[target or entry.target]
    runtime.check_available()
    chosen = options_here(runtime, entry, options)
    with engine_here(folder, entry, runtime, chosen, given, keep) as found, runtime.load(found.file) as loaded:
        about = {
            "target": runtime.name,
            "options": dict(found.file.options),
            "origin": found.origin,
            "file": found.file.path.name,
            "sha256": found.file.sha256,
            "notes": list(loaded.notes),
            **({"kept": str(found.kept)} if found.kept else {}),
        }
        yield _Asked(loaded, about, runtime.available().versions)


def _answers(
    logits: Path,
    image_shape: tuple[int, int, int],
    entry: BundledEngine,
    target: str | None,
    engine: str | Path | None,
) -> _Asked:
    """What an engine elsewhere answered."""
    answers = Answers.read(logits, image_shape)
    return _Asked(answers, {"target": targets[target or entry.target].name, **answers.about(engine)}, {})


def _latency(engine: Engine) -> dict[str, float | int]:
    """Milliseconds that a single image takes, of some calls in this process; for orientation."""
    image = np.full((1, *engine.signature.image_shape), 0.5, np.float32)
    for _ in range(_WARMUP):
        engine(image)
    calls: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(calls) < _CALLS and time.perf_counter() < end:
        started = time.perf_counter()
        engine(image)
        calls.append((time.perf_counter() - started) * 1000)
    named = {f"p{q}": float(np.percentile(calls, q)) for q in (50, 90, 99)}
    return {"batch": 1, "threads": 1, "calls": len(calls), **named}


def _board() -> str:
    """What a board calls itself, such as a Jetson; nothing elsewhere."""
    try:
        return Path("/proc/device-tree/model").read_text().strip("\0 \n")
    except (OSError, UnicodeDecodeError):
        return ""
