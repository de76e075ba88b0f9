"""Clean answers of a model, looked at before any attack: whether it answers at all, and means what is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from ...core.errors import EngineFailure, UsageError
from ...stages.adapt import Adapted, AdapterConfig, columns_of
from ...stages.data import Dataset
from ...stages.plausibility import Plausibility, plausibility
from ...stages.verify import EngineSubject, Subject
from ...stages.verify.checks.base import Finding
from ...stages.verify.subject.guarded import Guarded
from ...targets.onnxruntime.target import OnnxRuntime
from ...targets.process.own_process import FIRST_ANSWER
from ...targets.signature import read_signature
from .adapted_models import surrogate_options
from .other_pixels import usual_variants

# Images that are asked about: the first number where they are small, the second at least, which are 32 MiB between.
IMAGES, LEAST, FLOATS = 256, 64, 2**23


def look_at_clean_answers(
    subject: Subject, data: Dataset, model: str, adapter: AdapterConfig, around: Adapted | None = None
) -> list[Finding]:
    """Ask a model about clean images, and say what speaks against its answers meaning anything.

    Args:
        subject: the model.
        data: the data set, of whose test split some images are asked about.
        model: as the user calls it.
        adapter: what the user has said of it; pixels that contradict it are not tried.
        around: what was put around it, if anything.

    Raises:
        UsageError: it answers none of its first images; the message has the runtime's own words.
    """
    test = data.test
    count = min(IMAGES, max(LEAST, FLOATS // int(np.prod(test.images.shape[1:]))))
    rows = np.sort(np.random.default_rng(0).permutation(len(test))[:count])
    split = test.take(rows)
    # Elsewhere the first answer may come after minutes of compiling.
    if isinstance(subject, EngineSubject) and subject.engine.target == OnnxRuntime.name and not subject.engine.options:
        subject = replace(subject, first=FIRST_ANSWER * (read_signature(subject.graph).batch or 1))
    predict = subject.predictor()
    assert isinstance(predict, Guarded)
    with closing(predict):
        try:
            predict.first_answer(split.images[:1])
        except EngineFailure as failure:
            raise UsageError(f"{model}: answers no image: {failure}") from None
        found = plausibility(predict, split, list(usual_variants(split.images, adapter, around)))
    in_python = "" if isinstance(subject, EngineSubject) else subject.name
    return list(_findings(found, in_python, columns_of(adapter, len(data.class_names))))


def of_surrogate(findings: Iterable[Finding]) -> list[Finding]:
    """The same of a model that lends its gradients, with the options as they are called for it."""
    return [Finding(f"surrogate-{each.name}", surrogate_options(each.sentence)) for each in findings]


def _findings(found: Plausibility, in_python: str, columns: Sequence[int]) -> Iterator[Finding]:
    """What speaks against the model.

    Args:
        found: its answers.
        in_python: what it is called where it is a function or a module, which no adapter stands around.
        columns: its own numbers of the data set's classes, as far as was said.
    """
    count = found.count
    if found.finite < count:
        way = "it may want pixels in another range (--scale, --mean, --std)"
        if found.masked:
            numbers = ", ".join(map(str, found.masked))
            way = f"-inf is the logit of class {numbers}; verify it with --masked-classes if that one is masked"
        yield Finding(
            "not-finite", f"the answers to {count - found.finite} of {count} clean images are not finite; {way}"
        )
    if found.better is not None:
        variant, correct = found.better
        way = f"let the {in_python} do what" if in_python else "verify it with"
        option = f"{way} {variant.said}" + (" does" if in_python else "")
        others = " or ".join(each.said for each in found.alike)
        alike = f"; {others} fits these images as well: who trained it knows" if others else ""
        yield Finding(
            "looks-unnormalised",
            f"{found.correct} of {count} clean images are answered rightly, and {correct} with other pixels; "
            f"{option}{alike}",
        )
    elif found.permuted is not None:
        judged, plain, turned = found.judged
        # Ours by the place among the answers, which stand in the order that the user has said, others behind.
        others = [number for number in range(len(found.permuted)) if number not in columns]
        order = [*columns, *others]
        numbers = [order[place] for place in np.argsort(found.permuted)[: len(columns)].tolist()]
        yield Finding(
            "labels-permuted",
            f"of {judged} clean images {plain} are answered rightly, and {turned} with the classes in another order; "
            f"verify it with --label-map, a file of the lines {', '.join(map(str, numbers))}",
        )
    elif found.guesses:
        yield Finding(
            "guesses",
            f"{found.correct} of {count} clean images are answered rightly, which is no better than guessing; it "
            "may want --scale, --mean, --std, --channels or --layout, or --label-map or --classes-offset",
        )
