"""Replay outcome from bits alone: on the device, and once more where it is brought back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.reading.counted import counted
from ...gates import Condition, Outcome
from .replay_pack import allowed_losses

_ABSOLUTE = re.compile(r"\s*(>=|<=|>|<)\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*")
# What a device's bits tell; the others need attacks, or a clock.
_KNOWN = ("clean_accuracy", "robust_accuracy", "robust_accuracy_8bit")


@dataclass(frozen=True)
class DeviceBits:
    """What an engine got right of the run's samples.

    Attributes:
        index: data-set rows `[N]`, each once.
        clean: unperturbed, bool `[N]`.
        robust: under every adversarial example, bool `[N]`.
        robust_8bit: under every one rounded to 8 bits, bool `[N]`; None where that is not known.
    """

    index: np.ndarray
    clean: np.ndarray
    robust: np.ndarray
    robust_8bit: np.ndarray | None

    def of_both(self, run: DeviceBits) -> DeviceBits:
        """What was withstood here and in the run; clean accuracy is this one's own."""
        rounded = self.robust_8bit
        if rounded is not None:
            rounded = None if run.robust_8bit is None else rounded & run.robust_8bit
        return DeviceBits(self.index, self.clean, self.robust & run.robust, rounded)

    def figures(self) -> dict[str, float]:
        """The accuracies."""
        found = {"clean_accuracy": float(self.clean.mean()), "robust_accuracy": float(self.robust.mean())}
        return found if self.robust_8bit is None else {**found, "robust_accuracy_8bit": float(self.robust_8bit.mean())}


def outcome_of(
    device: DeviceBits, run: DeviceBits, gates: Sequence[Mapping[str, Any]], *, attacked: bool, sequential: bool
) -> dict[str, Any]:
    """Hold a device's bits against the run's, and its figures against the run's gates.

    Args:
        device: what the engine got right on the device.
        run: what the reference got right in the run, on the same rows.
        gates: entries of the report's `gates`.
        attacked: whether the reference is the engine itself; if not, no replay makes a pass.
        sequential: whether the run stopped early; its gates are then no matter of a sample's share.

    Returns:
        `{samples, clean_accuracy, robust_accuracy, robust_accuracy_8bit, run, lost, gained, allowed, agreement,
        outcome, reasons}`: robust accuracies are the share that was withstood in the run and here; `run` has the same
        figures of the run; `lost` are data-set rows that the run's engine withstood and this one does not, `gained` the
        other way round; `agreement` is the share of equal bits.
    """
    lost, gained = run.index[run.robust & ~device.robust], run.index[~run.robust & device.robust]
    # What the device alone got right was never attacked on it, and counts for nothing.
    allowed, figures = allowed_losses(len(run.index)), device.of_both(run).figures()
    failed = [] if sequential else [reason for gate in gates if (reason := _missed(gate, figures))]
    if attacked and len(lost) > allowed:
        failed.insert(
            0, f"lost {len(lost)} of {counted(int(run.robust.sum()), 'robust sample')}, {allowed} are allowed"
        )
    doubts = [] if attacked else ["the run did not attack this engine; examples made for others are no attack on it"]
    outcome: Outcome = "fail" if failed else "inconclusive" if doubts else "pass"
    return {
        "samples": len(run.index),
        **figures,
        "run": run.figures(),
        "lost": lost.tolist(),
        "gained": gained.tolist(),
        "allowed": allowed,
        "agreement": float((device.robust == run.robust).mean()),
        "outcome": outcome,
        "reasons": failed or doubts,
    }


def _missed(gate: Mapping[str, Any], figures: Mapping[str, float]) -> str:
    """Say which limit a figure misses, or nothing; gates on what a device does not know are the run's alone."""
    if gate.get("name") not in _KNOWN or gate["name"] not in figures:
        return ""
    if not _ABSOLUTE.fullmatch(str(gate.get("limit"))):
        return ""
    condition = Condition.parse(gate["name"], gate["limit"])
    value = figures[condition.figure]
    return "" if condition.holds(value) else f"{condition.figure} {value:.4g} misses {condition.text}"
