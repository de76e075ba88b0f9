"""Glossary: every term of the field that stands on the page, explained at its foot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from .....core.registry import Registry
from .....stages.norms.base import norms
from .....stages.verify.checks.base import checks
from .....targets.base import targets
from ....figures.table import every, routes_of
from ..blocks import Section
from ..run import RunView

# A term in all its forms.
Term = tuple[str, ...]
_SCHEMES = (
    "Activations, then weights: u8 is 8 bits without a sign, s8 with one, and so on; then what else is set apart."
)
# What no registry explains that is read without torch.
_WORDS = {
    "8-bit images": "Images whose pixels are whole multiples of 1/255, as cameras deliver them.",
    "adapter": "Nodes around a model: pixels in [0, 1] become what it wants, its output logits.",
    "AutoAttack": "Two Auto-PGD attacks, FAB and Square, in turn: the field's standard (Croce & Hein, 2020).",
    "BPDA": "Backward pass differentiable approximation: the engine answers, its twin lends the gradients.",
    "black box": "An attack that sees nothing but the model's answers.",
    "bf16": "Numbers of 16 bits with the range of float32 and 8 bits of precision.",
    "candidate": "An image in which an attack ended, whether it fools the model or not.",
    "calibration": "Running images through a network to find the ranges that its activations are quantized to.",
    "Clopper–Pearson": "The exact confidence interval of a share of samples; it holds at any number of them.",
    "confidence sequence": "An interval that holds wherever the sampling stops, looked at as often as one likes.",
    "dominated": "Of several engines one that another is no worse than in anything, and better than in something.",
    "engine": "What ships: the file that the runtime of the device runs. It is what was attacked.",
    "EOT": "Expectation over transformation: gradients averaged over noise.",
    "eps": "The radius of the ball around each image within which an attack may choose.",
    "FAB": "An attack that walks to the nearest boundary between classes.",
    "fp16": "Numbers of 16 bits, half precision.",
    "fp32": "Numbers of 32 bits, as networks are trained in.",
    "gate": "A limit that a figure has to meet, such as robust_accuracy >= 0.75.",
    "int8": "Weights and activations as integers of 8 bits with a scale.",
    "ledger": "The table of all subjects from teacher to engine: what each step keeps.",
    "logits": "The numbers that a model answers with, one a class; the largest one is its answer.",
    "McNemar": "The exact test of whether two models on the same samples differ by more than chance.",
    "p50": "The median: half of the calls were faster. Of ten calls p90 is the second slowest, of a hundred p99.",
    "PGD": "Projected gradient descent: steps along the gradient, back into the ball after each.",
    "QDQ": "An ONNX file that says where it is quantized by pairs of QuantizeLinear and DequantizeLinear.",
    "rounded": "The last route: every image found so far once more, as an 8-bit image.",
    "route": "One way to attack. Each meets only the samples that the routes before it left standing.",
    "SHA-256": "A digest: two files that have the same one are the same.",
    "scheme": "How a runtime wants a graph quantized: bits, signs, and how scales are shared.",
    "student": "The compact network that was trained; engines are made from it.",
    "subject": "A model under attack: a network or an engine.",
    "surrogate": "Another model of the same task, whose gradients are tried on this one.",
    "Tango": "Tango's score interval of the difference between two models on the same samples.",
    "teacher": "The large robust network that the student learnt from.",
    "threat model": "What the attacker may do to an image: a norm, and how far.",
    "torch": "Run by PyTorch, before any export.",
    "untargeted": "Any wrong answer counts, not a particular one.",
    "twin": "A differentiable copy of the engine's graph. It lends gradients; the engine itself says what fools it.",
    "white box": "An attack that follows gradients.",
}


def glossary_section(run: RunView, sections: Sequence[Section], *texts: str) -> Section:
    """Explain the terms that these parts of the page use.

    Args:
        run: the run, whose own routes may be somebody else's.
        sections: the page's others.
        texts: what else stands on it.
    """
    left, page = _meanings(run), "\n".join([*texts, *_texts(sections)])
    found: list[tuple[Term, str]] = []
    while stands := [each for each in left if any(_stands(form, page) for form in each[0])]:
        found += stands
        left = [each for each in left if each not in stands]
        page = "\n".join(said for _, said in stands)  # explanations have terms of their own
    found.sort(key=lambda each: each[0][0].lower())
    return Section(name="glossary", title="Words", terms=[(", ".join(term), _sentence(said)) for term, said in found])


def _stands(term: str, page: str) -> bool:
    spelt = re.escape(term).replace(r"\ ", "[ -]")
    return re.search(rf"(?<![\w-]){spelt}(?:e?s)?(?![\w-])", page, re.IGNORECASE) is not None


def _sentence(meaning: str) -> str:
    plain = meaning.replace("`", "").rstrip(".")
    return f"{plain[:1].upper()}{plain[1:]}."


def _meanings(run: RunView) -> list[tuple[Term, str]]:
    """Terms, each in all its forms, and what they mean."""
    told: Any = run.files.json("verification/figures.json")
    subjects = told.values() if isinstance(told, dict) else ()
    kept = [each["meanings"] for each in subjects if isinstance(each, dict) and isinstance(each.get("meanings"), dict)]
    routes = {str(name): str(meaning) for each in kept for name, meaning in each.items() if meaning}
    plain = {**_of_registry(norms), **_of_registry(checks), **_of_registry(targets), **routes, **_WORDS}
    schemes = {str(each["calibration"].get("scheme", "")) for each in run.engines if each.get("calibration")} - {""}
    shown = every(routes_of(run.subjects))
    shared = Counter(each.words for each in shown)
    figures = [
        ((each.name,) if shared[each.words] > 1 or each.words == each.name else (each.words, each.name), each.help)
        for each in shown
    ]
    return [
        *(((name,), meaning) for name, meaning in plain.items()),
        *((names, said) for names, said in figures if said),
        *([(tuple(sorted(schemes)), _SCHEMES)] if schemes else []),
    ]


def _of_registry(registry: Registry[Any]) -> dict[str, str]:
    return {each.name: each.summary for each in registry.describe() if each.summary and not each.problem}


def _texts(part: Any) -> Iterator[str]:
    """What people read of a part of the page: no drawing, no address, no listing."""
    if isinstance(part, str):
        yield part
    elif is_dataclass(part):
        for each in fields(part):
            if each.name not in ("svg", "source", "data", "listing", "name"):
                yield from _texts(getattr(part, each.name))
    elif isinstance(part, Sequence):
        for each in part:
            yield from _texts(each)
