"""ONNX Runtime asked directly, with nothing of edgeproof in between: what tests compare engines with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

# x86 without VNNI adds pairs of int8 products in 16 bits, which saturate, unless it is told not to; where they do not,
# this changes no answer (onnxruntime.ai, "Quantize ONNX models").
EXACT_SUMS = ("session.x64quantprecision", "1")


def session_of(graph: Path) -> onnxruntime.InferenceSession:
    """A session that adds int8 products up exactly on every machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry(*EXACT_SUMS)
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def answers_of(graph: Path, images: np.ndarray) -> np.ndarray:
    """The logits of the only output."""
    session = session_of(graph)
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(logits)
