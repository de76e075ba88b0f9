"""What the runs of `benchmarks/verify.py` come to, and its tables."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from edgeproof.stages.verify import EngineSubject
from edgeproof.stages.verify.attacks.autoattack import inside
from edgeproof.stages.verify.subject.subject import fooled
from rich.console import Console
from rich.table import Table
from verify_runs import Job, Run

PLAIN, SHARDED, SAME, VERIFY, GATE = "plain", "sharded", "same attacks", "verify", "gate"
ROWS = (PLAIN, SHARDED, SAME, VERIFY, GATE)
# What is asked of a row: at most so much of the plain run's time, and of the sharded one's.
ASKED: dict[tuple[str, str], float] = {(SAME, PLAIN): 1 / 4, (SAME, SHARDED): 0.7, (GATE, PLAIN): 1 / 10}


def confirmed(job: Job, reference: Run, rows: np.ndarray) -> int:
    """How many of the plain run's images, put back into the ball, fool the engine asked by itself."""
    if not rows.any() or reference.x_adv is None:
        return 0
    chosen = job.split.take(np.flatnonzero(rows))
    images = inside(torch.from_numpy(reference.x_adv[rows]), torch.from_numpy(chosen.images), job.threat).numpy()
    predict = EngineSubject("engine", job.engine, job.engine.path, ("relu",)).predictor()
    return int(fooled(predict, images, np.arange(len(images)), chosen.labels).sum())


def ratio(runs: Sequence[Run], reference: Sequence[Run] | None) -> tuple[float, float, float] | None:
    """Median, least and greatest ratio of the wall times, round by round."""
    if reference is None:
        return None
    found = [run.wall / other.wall for run, other in zip(runs, reference, strict=True)]
    return statistics.median(found), min(found), max(found)


def summarize(job: Job, runs: dict[str, list[Run]], by_attack: Run) -> dict[str, Any]:
    """Everything that is shown, as JSON-able data."""
    first = runs[PLAIN][0]
    rows: dict[str, Any] = {}
    for name, these in runs.items():
        rows[name] = {
            "seconds": [run.wall for run in these],
            "of": {other: ratio(these, runs.get(other)) for other in (PLAIN, SHARDED)},
            "samples": len(these[0].robust),
            "robust_accuracy": float(these[0].robust.mean()),
            "by_attack": these[0].by_attack,
            "note": these[0].note,
        }
        if name == GATE:  # other samples, in another order
            rows[name]["note"] += about_all(job, rows[name]["of"][PLAIN])
            continue
        assert all((run.index == first.index).all() for run in these)
        for other in (PLAIN, SHARDED):
            if other in runs and other != name:
                verdicts = [(run.robust, before.robust) for run, before in zip(these, runs[other], strict=True)]
                rows[name][f"beside {other}"] = {
                    "more": max(int((robust & ~before).sum()) for robust, before in verdicts),
                    "less": max(int((~robust & before).sum()) for robust, before in verdicts),
                    "confirmed": confirmed(job, runs[other][0], these[0].robust & ~runs[other][0].robust),
                }
        rows[name]["moved"] = int(np.any([run.robust != these[0].robust for run in these], axis=0).sum())
    return {
        "engine": job.engine.path.name,
        "target": job.engine.target,
        "dataset": job.data.dataset,
        "threat": job.threat.model_dump(mode="json"),
        "samples": len(job.split),
        "shards": [len(shard) for shard in job.shards],
        "batch": job.batch,
        "workers": job.workers,
        "threads": job.threads,
        "engine_threads": job.engine_threads,
        "load": os.getloadavg(),
        "rows": rows,
        "by_attack": {
            **{name: rows[name]["by_attack"] for name in (PLAIN, SHARDED) if name in rows},
            SAME: by_attack.by_attack,
        },
        "by_route": {name: rows[name]["by_attack"] for name in (SAME, VERIFY, GATE) if name in rows},
    }


def about_all(job: Job, found: tuple[float, float, float] | None) -> str:
    """What a gate's decision about the whole test split takes of what plain AutoAttack would, image by image."""
    if found is None or len(job.split) == job.population:
        return ""
    low, middle, high = (value * len(job.split) / job.population for value in (found[1], found[0], found[2]))
    return f"; of {PLAIN} times {job.population} / {len(job.split)} images: {middle:.3f} [{low:.3f}, {high:.3f}]"


def show(result: dict[str, Any], console: Console) -> None:
    """Print the tables of one engine."""
    rows, threat = result["rows"], result["threat"]
    plain_run = (
        f"{result['threads']} threads and {result['engine_threads']} of the engine, batches of {result['batch']}"
    )
    console.print(
        f"{result['engine']} ({result['target']}) on {result['samples']} samples of {result['dataset']}, "
        f"{threat['norm']} {threat['eps']:.4g}, shards of {max(result['shards'])}; {PLAIN}: {plain_run}; elsewhere "
        f"{result['workers']} processes; load {result['load'][0]:.1f}",
        highlight=False,
    )
    time_table = Table("", "wall s, median", rf"of {PLAIN} \[least, most]", rf"of {SHARDED} \[least, most]", "note")
    for name, row in rows.items():
        time_table.add_row(
            name,
            f"{statistics.median(row['seconds']):.1f}",
            *(against(name, other, row["of"][other]) for other in (PLAIN, SHARDED)),
            row["note"],
        )
    console.print(time_table)
    columns = (f"more robust than {PLAIN} (confirmed)", "less", f"more robust than {SHARDED} (confirmed)", "less")
    verdicts = Table("", "samples", "robust", *columns, "verdict moved")
    for name, row in rows.items():
        cells: list[str] = []
        for other in (PLAIN, SHARDED):
            beside = row.get(f"beside {other}")
            cells += [f"{beside['more']} ({beside['confirmed']})", str(beside["less"])] if beside else ["", ""]
        verdicts.add_row(name, str(row["samples"]), f"{row['robust_accuracy']:.3f}", *cells, str(row.get("moved", "")))
    console.print(verdicts)
    for title, key in (("by attack", "by_attack"), ("by route", "by_route")):
        found: dict[str, dict[str, float]] = result[key]
        names = list(dict.fromkeys(name for seconds in found.values() for name in seconds))
        shares = Table(title, *(f"{name}, s (share)" for name in found))
        for name in names:
            shares.add_row(name, *(share(seconds, name) for seconds in found.values()))
        console.print(shares)


def against(name: str, other: str, found: tuple[float, float, float] | None) -> str:
    if found is None or name == other:
        return ""
    asked = f"; asked ≤ {ASKED[name, other]:.2f}" if (name, other) in ASKED else ""
    return f"{found[0]:.3f} [{found[1]:.3f}, {found[2]:.3f}]{asked}"


def share(seconds: dict[str, float], name: str) -> str:
    return f"{seconds[name]:.1f} ({seconds[name] / max(sum(seconds.values()), 1e-9):.0%})" if name in seconds else ""
