"""Pack replay: the adversarial examples of a finished run, shown to an engine (`edgeproof replay`).

Needs numpy and the engine's runtime, beside what the command line is made with; no torch, no onnx. What it says is no
attack: an engine that withstands examples made for another one may fall to its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ....core.errors import EdgeproofError, StageError, UsageError, raised
from ....core.reading.counted import counted
from ....core.reading.json_text import read_json
from ....stages.adversarial_pack import read_pack
from ....targets.base import Engine, EngineFile, targets
from ....targets.option_values import read_options

_BATCH = 256
_ALLOWED, _ALLOWED_SHARE = 2, 0.005


def replay(
    pack: str | Path, engine: str | Path, *, target: str = "onnxruntime", options: Sequence[str] = ()
) -> dict[str, Any]:
    """Show an engine all candidates of a pack.

    Args:
        pack: `adversarial/<subject>.npz` of a run.
        engine: the engine file, or an ONNX file.
        target: the runtime that runs it.
        options: its options, such as `hint=throughput`.

    Returns:
        `{pack, manifest, engine, target, sha256, samples, candidates, clean_accuracy, robust_accuracy,
        pack_robust_accuracy, lost, gained, allowed, exit_code}`: `manifest` is the one that the pack's digest was held
        against, None where none lies beside the pack; accuracies are over the pack's samples, which its engine
        answered rightly when clean; `lost` are the data-set
        rows that the pack's own engine withstood and this one does not, `gained` the other way round. The exit code is
        1 where more are lost than `allowed`, else 0.

    Raises:
        UsageError: a file is missing, broken or not the one that the manifest lists, or the engine takes other images.
        BackendMissing: the target's runtime is not installed.
    """
    found, manifest = read_pack(Path(pack))
    runtime = targets[target]
    runtime.check_available()
    if not Path(engine).is_file():
        raise UsageError(f"{engine}: no such file")
    file = EngineFile.of(target, Path(engine), read_options(runtime.options, options))
    _check_adapter(Path(pack), Path(engine), file.sha256)
    index, first, rows = np.unique(found["index"], return_index=True, return_inverse=True)
    with targets[target].load(file) as loaded:
        if loaded.signature.image_shape != found["clean"].shape[1:]:
            raise UsageError(
                f"{engine}: takes images {list(loaded.signature.image_shape)}, those of {pack} are "
                f"{list(found['clean'].shape[1:])}"
            )
        highest = int(found["label"].max())
        if highest >= loaded.signature.classes:
            raise UsageError(f"{engine}: answers with {loaded.signature.classes} classes, {pack} has a label {highest}")
        clean = correct(loaded, found["clean"][first], found["label"][first])
        robust = clean.copy()
        np.logical_and.at(robust, rows, correct(loaded, found["adversarial"], found["label"]))
    before = found["robust"][first].astype(bool)
    lost, gained = index[before & ~robust], index[~before & robust]
    allowed = allowed_losses(len(index))
    return {
        "pack": str(pack),
        "manifest": None if manifest is None else str(manifest),
        "engine": str(engine),
        "target": target,
        **({"options": dict(file.options)} if file.options else {}),
        "sha256": file.sha256,
        "samples": len(index),
        "candidates": len(rows),
        "clean_accuracy": float(clean.mean()),
        "robust_accuracy": float(robust.mean()),
        "pack_robust_accuracy": float(before.mean()),
        "lost": lost.tolist(),
        "gained": gained.tolist(),
        "allowed": allowed,
        "exit_code": int(len(lost) > allowed),
    }


def _check_adapter(pack: Path, engine: Path, digest: str) -> None:
    """Refuse the file that an adapter stood around, where the run beside the pack says so: it wants other images."""
    run = pack.resolve().parent.parent
    try:
        subjects = read_json(run / "report.json")["subjects"]
        behind = [each["path"] for each in subjects if each.get("given", {}).get("sha256") == digest]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a pack may lie anywhere
        return
    if behind:
        raise UsageError(f"{engine}: was attacked with its adapter; show the pack to {run / behind[0]}")


def show_replay(result: dict[str, Any], console: Console) -> None:
    """Print a replay for people."""
    if result["manifest"] is None:
        console.print("no manifest.json beside the pack: nothing says whether it is whole", highlight=False)
    verdict = "FAIL" if result["exit_code"] else "PASS"
    shown = f"{counted(result['candidates'], 'candidate')} of {counted(result['samples'], 'sample')}"
    console.print(
        f"{shown} on {result['target']}: "
        f"clean {result['clean_accuracy']:.3f}, robust {result['robust_accuracy']:.3f} "
        f"(in the pack: {result['pack_robust_accuracy']:.3f})\n"
        "Shares of the samples that the pack's engine answers rightly when clean: a pack has no others.\n"
        f"lost {len(result['lost'])} (allowed: {result['allowed']}), gained {len(result['gained'])}: {verdict}",
        highlight=False,
        soft_wrap=True,
    )


def allowed_losses(samples: int) -> int:
    """How many samples that one engine withstood may fall on another, which rounds otherwise, as in an audit."""
    return int(max(_ALLOWED, _ALLOWED_SHARE * samples))


def correct(engine: Engine, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether an engine gives each image `[N, C, H, W]` its label `[N]`, in finite logits; bool `[N]`.

    Raises:
        StageError: the engine fails; the message has its runtime's own words.
    """
    try:
        parts = [engine(images[first : first + _BATCH]) for first in range(0, len(images), _BATCH)]
    except EdgeproofError:
        raise
    except Exception as error:  # of several kinds, as runtimes have them
        raise StageError(f"the engine {raised(error)}") from error
    logits = np.concatenate(parts)
    return (logits.argmax(1) == labels) & np.isfinite(logits).all(1)
