"""Teacher ranking: which of several teachers to distil from (`edgeproof teachers`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ...core.errors import UsageError
from ...core.model_file import sha256_of
from ...stages.data import load_dataset
from ...stages.models import models
from ...stages.statistics.proportions import clopper_pearson
from ...stages.teacher.screening import (
    STRONG_CLEAN,
    STRONG_PGD,
    Answers,
    Sample,
    draw_sample,
    guesses,
    hard_images,
    screen,
    strong_enough,
    suggested_order,
)
from ..progress import Reporter
from ..request.arguments import data_config, option, threat_model
from ..request.network_reference import find_candidate, load_candidate
from ..store.machine import machine

SAMPLES = 512
FEW_HARD = 20

HARD = "at least half of the candidates fail on it under PGD, without those that only guess"
CAUTION = "A screening heuristic, not a proof: a short distillation from each of the first two says more."


def rank_teachers(
    candidates: Sequence[str | Path],
    *,
    dataset: str | Path,
    eps: str | float,
    norm: str = "Linf",
    samples: int = SAMPLES,
    steps: int = 20,
    seed: Annotated[int, Field(ge=0)] = 0,
    model: str | None = None,
    weights: str | None = None,
    data_root: Path | str | None = None,
    image_size: str | int | tuple[int, int] | None = None,
    grey: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Screen teachers by clean and PGD accuracy and by their entropy on hard images; nothing is written.

    Args:
        candidates: checkpoints, `MODEL=FILE` for those that do not name their model, `package.module:function` for
            functions that return a model with its weights, or `robustbench/<Name>`.
        dataset: the data set whose validation and training images are asked, never its test images: a name, a folder of
            images, an .npz file, or `package.module:function`.
        eps: radius of the ball, a number or a fraction such as `8/255`.
        norm: `Linf` or `L2`.
        samples: how many images, half of them validation images where there are enough.
        steps: PGD steps.
        seed: seed of the sample draw and of the attack.
        model: the model of checkpoints that do not name theirs.
        weights: which weights of checkpoints with several: `ema` (averaged over training), `raw`, or the keys under
            which they lie (default: `ema`).
        data_root: folder of local copies of data sets (default: $EDGEPROOF_DATA, then ~/.cache/edgeproof/data).
        image_size: resize image files to this side, or to HEIGHTxWIDTH such as 48x64.
        grey: read image files as grey, for models of one channel.
        reporter: where progress goes.

    Returns:
        what `--json` prints: `candidates` with their figures, most promising first, and `reason`.

    Raises:
        UsageError: an option, or a candidate that is no usable teacher for these data.
        StageError: a download failed.
    """
    reporter = reporter or Reporter(quiet=True)
    threat = threat_model(norm, eps)
    for name, value, least in (("steps", steps, 1), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"--{name}: must be at least {least}, got {value}")
    if model is not None:
        with option("--model: "):
            models[model]
    named = [find_candidate(str(candidate), model, threat) for candidate in candidates]
    if not named:
        raise UsageError("no candidate is given")
    if len({candidate.name for candidate in named}) < len(named):
        raise UsageError("a candidate is given twice")
    data = load_dataset(data_config(dataset, data_root, image_size, grey=grey))
    with option("--"):
        sample = draw_sample(data, samples, seed)
    found: list[Answers] = []
    about: list[dict[str, Any]] = []
    for candidate in named:
        file, loaded = load_candidate(candidate, data, reporter, weights)
        teacher = loaded.classifier(data.image_shape[0], candidate.name)
        with reporter.stage(f"screen {candidate.name}") as bar:
            found.append(
                screen(
                    teacher,
                    sample,
                    threat,
                    candidate.name,
                    steps=steps,
                    seed=seed,
                    on_batch=lambda done, total, bar=bar: bar.shards(done, total, 0, 0),
                )
            )
        about.append(
            {
                "candidate": candidate.name,
                "model": loaded.name,
                "sha256": None if file is None else sha256_of(file),
                "parameters": sum(parameter.numel() for parameter in loaded.network.parameters()),
            }
        )
    return {
        "dataset": str(dataset),
        "threat_model": threat.model_dump(),
        "attack": f"PGD-{steps}",
        "seed": seed,
        "samples": {"validation": sample.held_out, "train": len(sample.split) - sample.held_out},
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
        "machine": machine(),
        **_ranking(about, found, sample),
    }


def show_teachers(result: Mapping[str, Any], console: Console) -> None:
    """Print what `rank_teachers` found."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column("candidate", overflow="fold")
    for heading in ("size", "clean [95 %]", f"{result['attack']} [95 %]", "entropy", "img/s"):
        table.add_column(heading, no_wrap=True)
    for entry in result["candidates"]:
        table.add_row(
            str(entry["rank"]),
            entry["candidate"],
            _short(entry["parameters"]),
            _proportion(entry["clean_accuracy"], entry["clean_accuracy_ci"]),
            _proportion(entry["pgd_accuracy"], entry["pgd_accuracy_ci"]),
            _entropy(entry["entropy"], entry["entropy_error"]),
            _short(entry["images_per_second"]),
        )
    console.print(table)
    samples = result["samples"]
    console.print(
        f"Size in parameters. Accuracies on {samples['validation']} validation images. Entropy in nats at x', mean and "
        f"95 % interval on the {result['hard_images']} hard images among these and {samples['train']} training images; "
        f"an image is hard when {HARD}. No test image was used. A candidate that was trained on these images looks "
        "better than it is.",
        style="dim",
        highlight=False,
    )
    for line in result["warnings"]:
        console.print(f"warning: {line}", style="yellow", highlight=False, markup=False)
    console.print(result["reason"], highlight=False, markup=False)


def _ranking(about: Sequence[dict[str, Any]], found: Sequence[Answers], sample: Sample) -> dict[str, Any]:
    hard = hard_images(found, sample)
    count = int(hard.sum())
    figures = [_figures(answers, hard, sample.held_out) for answers in found]
    clean, robust, entropy = (
        [entry[name] for entry in figures] for name in ("clean_accuracy", "pgd_accuracy", "entropy")
    )
    order = suggested_order(clean, robust, entropy)
    warnings = [
        f"{about[place]['candidate']}: does no better than guessing; if it expects other pixels than [0, 1], "
        "teacher.normalize says so"
        for place in order
        if guesses(found[place], sample)
    ]
    if 0 < count < FEW_HARD:
        warnings.append(f"only {count} images are hard, so the entropies are rough; ask for more --samples")
    return {
        "hard": HARD,
        "hard_images": count,
        "candidates": [{"rank": rank, **about[place], **figures[place]} for rank, place in enumerate(order, start=1)],
        "reason": _reason([str(about[place]["candidate"]) for place in order], clean, robust, count),
        "warnings": warnings,
    }


def _figures(answers: Answers, hard: np.ndarray, held_out: int) -> dict[str, Any]:
    entropy = answers.entropy[hard]
    error = 1.96 * float(entropy.std(ddof=1)) / len(entropy) ** 0.5 if len(entropy) > 1 else None
    figures: dict[str, Any] = {}
    for name, bits in (("clean_accuracy", answers.clean), ("pgd_accuracy", answers.robust)):
        correct = int(bits[:held_out].sum())
        figures |= {name: correct / held_out, f"{name}_ci": clopper_pearson(correct, held_out)}
    return figures | {
        "entropy": float(entropy.mean()) if len(entropy) else None,
        "entropy_error": error,
        "images_per_second": answers.images_per_second,
    }


def _reason(names: Sequence[str], clean: Sequence[float], robust: Sequence[float], hard: int) -> str:
    """The order and its grounds in one line."""
    if len(names) == 1:
        return "One candidate, nothing to order."
    strong = sum(strong_enough(clean, robust))
    order = " > ".join(names)
    if not hard:
        return f"Suggested order: {order}. No image is hard, so PGD accuracy alone decides. {CAUTION}"
    return (
        f"Suggested order: {order}. {strong} of {len(names)} are strong enough (at least {STRONG_PGD:.0%} of the best "
        f"PGD and {STRONG_CLEAN:.0%} of the best clean accuracy); among them the higher entropy comes first, since "
        f"confidence on hard images makes students overfit (arXiv 2605.21999). {CAUTION}"
    )


def _proportion(value: float, interval: Sequence[float]) -> str:
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _entropy(mean: float | None, error: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.2f}" + ("" if error is None else f" ± {error:.2f}")


def _short(number: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"
