"""Attack stage: one subject attacked by all its routes, sharded over processes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from ...core.errors import UsageError
from ...core.reading.arrays import read_npz
from ...core.reading.json_text import read_json
from ..data import Split
from .checks.base import as_json, find, total
from .checks.white_box_audit import too_much_missed
from .config import VerifyConfig
from .evaluation import Evaluation
from .evidence.candidates import Candidates
from .evidence.counts import Counts
from .evidence.shard_result import ShardResult
from .shards.run_shards import Job, run_shards
from .shards.sequential import Sequential
from .shards.shard import attack_shard, strengthen_shard
from .shards.workforce import Workforce
from .subject.subject import Subject, in_worker

BITS = "bits.npz"
CANDIDATES = "candidates.npz"
SUMMARY = "attack.json"
# A shard's samples at most, where nothing else is said. A few hundred are divided further, into so many shards of so
# many samples at least, for several cores; tiny images less, whose steps cost their Python until so many pixels are in
# a batch.
SIZE = 150
SHARDS, LEAST, PIXELS = 4, 50, 2**14
# Samples before the first look of a sequential run, and at least between two. Small shards cost more a sample: the
# Python of an attack's steps is the same for all.
BETWEEN_LOOKS = 50


@dataclass(frozen=True)
class Attacked:
    """What is kept of an attacked subject: per-sample bits in the order of its samples, candidates, counts.

    Attributes:
        index: `[N]` data-set rows.
        label: `[N]` labels.
        clean_correct: `[N]` booleans.
        bits: route name to `[N]` booleans, cumulative in route order.
        eight_bit: `[N]` booleans, the samples that withstand 8-bit images.
        candidates: every end point.
        summary: checks, findings and seconds, as written to `attack.json`.
    """

    index: np.ndarray
    label: np.ndarray
    clean_correct: np.ndarray
    bits: dict[str, np.ndarray]
    eight_bit: np.ndarray
    candidates: Candidates
    summary: dict[str, object]

    @property
    def robust(self) -> np.ndarray:
        """The samples that survived every route."""
        return list(self.bits.values())[-1] if self.bits else self.clean_correct

    def accuracies(self) -> dict[str, np.ndarray]:
        """The bits `[N]` behind each accuracy."""
        return {
            "clean_accuracy": self.clean_correct,
            "robust_accuracy": self.robust,
            "robust_accuracy_8bit": self.eight_bit,
        }

    @classmethod
    def joined(cls, results: Sequence[ShardResult], summary: dict[str, object]) -> Attacked:
        """All shards together."""
        return cls(
            np.concatenate([result.split.index for result in results]),
            np.concatenate([result.split.labels for result in results]),
            np.concatenate([result.clean_correct for result in results]),
            {name: np.concatenate([result.bits[name] for result in results]) for name in results[0].bits},
            np.concatenate([result.eight_bit for result in results]),
            Candidates.join([result.candidates for result in results], results[0].split.images.shape[1:]),
            summary,
        )

    def save_bits(self, path: Path) -> None:
        """Write the per-sample bits, the worst case last."""
        np.savez_compressed(
            path,
            index=self.index,
            label=self.label,
            clean_correct=self.clean_correct,
            robust_8bit=self.eight_bit,
            **self.bits,  # pyright: ignore[reportArgumentType]
        )

    @classmethod
    def load(cls, folder: Path) -> Attacked:
        """Read the folder of an attack stage."""
        summary = read_json(folder / SUMMARY)
        arrays = read_npz(folder / BITS)
        bits = {name: arrays[name] for name in summary["routes"]}
        return cls(
            arrays["index"],
            arrays["label"],
            arrays["clean_correct"],
            bits,
            arrays["robust_8bit"],
            Candidates.load(folder / CANDIDATES),
            summary,
        )


def sample(test: Split, config: VerifyConfig, *, shuffled: bool = False) -> Split:
    """Draw the samples to verify; see `drawn`."""
    return test.take(drawn(test, config, shuffled=shuffled))


def drawn(test: Split, config: VerifyConfig, *, shuffled: bool = False) -> np.ndarray:
    """The rows to verify, seeded and without replacement: in data-set order, or in the order of the draw.

    Raises:
        UsageError: more samples are asked for than there are, or corruptions that do not suit them.
    """
    count = len(test) if config.samples is None else config.samples
    if count > len(test):
        raise UsageError(f"samples: {count} is more than the {len(test)} test images")
    if config.corruptions is not None:
        config.corruptions.check(test.images.shape[1])
    rows = np.random.default_rng(config.seed).choice(len(test), count, replace=False)
    return rows if shuffled else rows[np.argsort(test.index[rows])]


def divided(samples: int, size: int | None, pixels: int) -> list[np.ndarray]:
    """Divide samples into shards, whatever the number of workers: the rows of each.

    Args:
        samples: how many.
        size: samples of a shard at most; by the pixels of an image when None.
        pixels: of an image.
    """
    tiny = PIXELS // pixels if size is None else 0
    count = max(-(-samples // max(size or SIZE, tiny)), min(SHARDS, -(-samples // max(LEAST, tiny))), 1)
    return np.array_split(np.arange(samples), count)


def in_shards(split: Split, size: int | None) -> list[Split]:
    """The samples of a run that takes all of them, as `divided` does it."""
    pixels = int(np.prod(split.images.shape[2:]))
    return [split.take(rows) for rows in divided(len(split), size, pixels)]


def between_looks(samples: int, size: int | None) -> list[np.ndarray]:
    """Divide the samples of a sequential run into shards, each half as large as all before it: the rows of each.

    They have `size` samples at most, `SIZE` when None.

    So a run takes at most half as many samples again as its gates need.
    """
    ends = [0]
    while ends[-1] < samples:
        half = ends[-1] // 2 // BETWEEN_LOOKS * BETWEEN_LOOKS
        ends.append(min(ends[-1] + min(max(half, BETWEEN_LOOKS), size or SIZE), samples))
    return [np.arange(first, last) for first, last in pairwise(ends)]


def attack_subject(
    subject: Subject,
    evaluation: Evaluation,
    order: Sequence[str],
    folder: Path,
    *,
    pool: Candidates | None = None,
    workforce: Workforce | None = None,
) -> None:
    """Attack a subject and write `bits.npz`, `candidates.npz` and `attack.json` into `folder`.

    Finished shards are kept in `folder/shards` until all are there, so that a killed run goes on from
    them. The result does not depend on the number of workers.

    Args:
        subject: what is attacked.
        evaluation: on which samples, in which ball, and how hard.
        order: route names, cheapest first.
        folder: where the result goes.
        pool: candidates found on other subjects and in earlier runs, for the replay route.
        workforce: who attacks; this process alone when None.
    """
    split, threat, config, stop = evaluation.split, evaluation.threat, evaluation.config, evaluation.stop
    workforce = workforce or Workforce()
    pool = Candidates.none(split.images.shape[1:]) if pool is None else pool
    size = config.shard_size
    shards = in_shards(split, size) if stop is None else [split.take(rows) for rows in between_looks(len(split), size)]

    def jobs(subject: Subject) -> list[Job]:
        return [
            partial(attack_shard, subject, shard, threat, config, tuple(order), pool.of(shard.index))
            for shard in shards
        ]

    results = run_shards(
        jobs(in_worker(subject)),
        folder / "shards",
        workforce,
        careful=jobs(subject),
        enough=None if stop is None else partial(_decided, stop),
    )
    counts = total([result.counts for result in results])
    if too_much_missed(counts):
        again = [partial(strengthen_shard, subject, result, threat, config) for result in results]
        results = run_shards(again, folder / "strong", workforce)
    workforce.machines.meet()  # nobody reads shards any more
    if workforce.machines.leads:
        _write(results, counts, config, folder)


def _decided(stop: Sequential, results: Sequence[ShardResult]) -> bool:
    return stop.decided(
        {
            "clean_accuracy": np.concatenate([result.clean_correct for result in results]),
            "robust_accuracy": np.concatenate([result.robust for result in results]),
            "robust_accuracy_8bit": np.concatenate([result.eight_bit for result in results]),
        }
    )


def _write(results: list[ShardResult], counts: Counts, config: VerifyConfig, folder: Path) -> None:
    warnings = set().union(*(result.warnings for result in results))
    unstable = np.concatenate([result.split.index[result.unstable] for result in results]).tolist()
    samples = sum(len(result.split) for result in results)
    summary = {
        "routes": list(results[0].bits),
        "seed": config.seed,
        "checks": as_json(counts),
        "findings": [asdict(finding) for finding in find(counts, warnings, samples, unstable)],
        "seconds": {
            name: round(sum(result.seconds.get(name, 0.0) for result in results), 2) for name in results[0].seconds
        },
    }
    found = Attacked.joined(results, summary)
    found.save_bits(folder / BITS)
    found.candidates.save(folder / CANDIDATES)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1))
    for finished in ("shards", "strong"):
        shutil.rmtree(folder / finished, ignore_errors=True)
