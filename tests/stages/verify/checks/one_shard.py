"""One check on one shard that was attacked beforehand."""

from __future__ import annotations

import torch
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify import VerifyConfig
from edgeproof.stages.verify.checks.base import Check, Shard, find
from edgeproof.stages.verify.evidence.candidates import Candidates
from edgeproof.stages.verify.evidence.counts import Counts
from edgeproof.stages.verify.evidence.repeat_queries import RepeatQueries
from edgeproof.stages.verify.evidence.shard_result import ShardResult
from edgeproof.stages.verify.routes.base import Batch, Context
from edgeproof.stages.verify.subject.subject import OpenedSubject


def ask(check: type[Check], result: ShardResult, opened: OpenedSubject, threat: ThreatModel) -> Counts:
    """Put what the check counts to what the result has counted, and return that."""
    split = result.split
    batch = Batch(torch.from_numpy(split.images), torch.from_numpy(split.labels), split.index)
    context = Context(opened, threat, VerifyConfig(), Candidates.none(split.images.shape[1:]))
    clean = opened.predict(split.images)
    shard = Shard(context, batch, result, clean, RepeatQueries.released(opened.predict, split.images, threat))
    result.counts.put(check().count(shard))
    return result.counts


def doubts(counts: Counts) -> list[str]:
    """What makes it inconclusive."""
    return [finding.name for finding in find(counts, ()) if finding.inconclusive]
