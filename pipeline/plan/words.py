"""Words of a plan: data, costs, times and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...core.reading.counted import class_words, counted
from ...stages.data import Dataset
from ...stages.verify.cost import AttackCost

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def data_of(dataset: Dataset, samples: int) -> dict[str, Any]:
    """Return what is known of a data set, and how many of its test images are attacked."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {
        "name": dataset.name,
        "image_shape": list(dataset.image_shape),
        "class_names": list(dataset.class_names),
        "splits": {name: len(split) for name, split in splits.items()},
        "attacked": samples,
    }


def data_words(data: Mapping[str, Any]) -> str:
    """The same in a line."""
    splits = ", ".join(f"{name} {count}" for name, count in data["splits"].items() if count)
    shape = "×".join(map(str, data["image_shape"]))
    return (
        f"{data['name']}, images {shape}, {class_words(data['class_names'])}; {splits}; {data['attacked']} are attacked"
    )


def cost_of(cost: AttackCost) -> dict[str, Any]:
    """Return a cost as JSON-able data."""
    return {
        "seconds": _rounded(cost.seconds),
        "seconds_if_all_withstand": _rounded(cost.most),
        "bytes": cost.bytes,
        "workers": cost.workers,
        "per_sample": {"gradients": cost.gradients, "answers": cost.answers},
        "measured": {
            "images": cost.measured,
            "right": cost.right,
            "withstood": cost.stood,
            "gradient_seconds": None if cost.gradient is None else cost.gradient.of(1),
            "answer_seconds": cost.answer.of(1),
        },
        "attacks": [
            {"attack": each.attack, "on": each.on, "gradients": each.gradients, "answers": each.answers}
            for each in cost.asked
        ],
    }


def _rounded(seconds: float) -> float:
    """To three digits: an estimate knows no more."""
    return float(f"{seconds:.3g}")


def cost_words(cost: Mapping[str, Any]) -> list[str]:
    """The same in a few lines: an estimate, and what it rests on."""
    found, per = cost["measured"], cost["per_sample"]
    gradient = found["gradient_seconds"]
    answer = f"an answer {1000 * found['answer_seconds']:.2g} ms for an image alone"
    seen = f"{found['images']} images, of which {found['right']} were answered rightly"
    if gradient is None:
        seen, took = f"{seen}: {answer}", f"{per['answers']:,} answers are"
    else:
        step = f"a gradient's step took {1000 * gradient:.2g} ms"
        seen += f" and {found['withstood']} withstood a short APGD: {step} and {answer}"
        took = f"{per['gradients']:,} gradients and {per['answers']:,} answers are"
    return [
        f"estimate: {time_words(cost['seconds'])} on {counted(cost['workers'], 'process', 'processes')}, "
        f"{time_words(cost['seconds_if_all_withstand'])} if no sample fell; "
        f"about {bytes_words(cost['bytes'])} of memory",
        f"it rests on {seen}; {took} asked of a sample that withstands. Attacks again, where something is suspicious, "
        "are not in it",
    ]


def time_words(seconds: float) -> str:
    """Seconds in the unit that people say."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < _DAY else f"{seconds / _DAY:.1f} days"


def bytes_words(count: int) -> str:
    """Bytes in the unit that people say."""
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def stage_lines(stages: Iterable[Mapping[str, str]]) -> list[str]:
    """A line for each stage."""
    stages = list(stages)
    width = max((len(each["stage"]) for each in stages), default=0)
    return [f"  {each['stage']:<{width}}  {each['state']}{each.get('words', '')}" for each in stages]
