"""The probe's random search, where it has no gradients to go by."""

from __future__ import annotations

import numpy as np
import torch
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import VerifyConfig
from edgeproof.stages.verify.candidates import Candidates
from edgeproof.stages.verify.route import Batch, Context
from edgeproof.stages.verify.routes.probe import Probe
from edgeproof.stages.verify.subject import Surface

EPS, COUNT, SHAPE = 0.1, 6, (1, 4, 4)


def falls_within(images: np.ndarray) -> np.ndarray:
    """Four classes; the first one's lead is gone where the pixels are half an eps brighter, and greatest on the rim."""
    lead = np.abs(images - 0.5 - EPS / 2).reshape(len(images), -1).mean(1) - 0.3 * EPS
    return np.stack([lead, *[np.zeros_like(lead)] * 3], 1).astype(np.float32)


def test_what_is_worst_within_the_ball_is_found_there():
    images = np.full((COUNT, *SHAPE), 0.5, np.float32)
    batch = Batch(torch.from_numpy(images), torch.zeros(COUNT, dtype=torch.long), np.arange(COUNT))
    threat = ThreatModel(norm="Linf", eps=EPS)
    assert (falls_within(images).argmax(1) == 0).all()
    assert (falls_within(images + np.float32(EPS)).argmax(1) == 0).all()
    context = Context(Surface(falls_within, {}, 4), threat, VerifyConfig(), Candidates.none(SHAPE))
    outcome = Probe().run(batch, context)
    assert outcome.broken.all()
    assert np.abs(outcome.candidates.images - images).max() <= EPS + 1e-6
