"""Clean answers of a model, looked at before any attack: whether it answers at all, and means what is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np

from ...core.errors import EngineFailure, UsageError
from ...stages.adapt import AdapterConfig, columns_of
from ...stages.data import Dataset
from ...stages.plausibility import Images, Plausibility, Variant, normalized, plausibility, usual_pixels
from ...stages.verify import EngineSubject, FunctionSubject, Subject
from ...stages.verify.checks.base import Finding
from ...stages.verify.subject.guarded import Guarded
from ...targets.onnxruntime.target import OnnxRuntime
from ...targets.process.own_process import FIRST_ANSWER
from ...targets.signature import read_signature

# Images that are asked about: the first number where they are small, the second at least, which are 32 MiB between.
IMAGES, LEAST, FLOATS = 256, 64, 2**23


def look_at_clean_answers(subject: Subject, data: Dataset, model: str, adapter: AdapterConfig) -> list[Finding]:
    """Ask a model about clean images, and say what speaks against its answers meaning anything.

    Args:
        subject: the model.
        data: the data set, of whose test split some images are asked about.
        model: as the user calls it.
        adapter: what the user has said of it; pixels that contradict it are not tried.

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
        found = plausibility(predict, split, list(usual_variants(split.images, adapter)))
    return list(_findings(found, isinstance(subject, FunctionSubject), columns_of(adapter, len(data.class_names))))


def usual_variants(images: Images, adapter: AdapterConfig) -> Iterator[Variant]:
    """Other pixels that a model may want, as the options of `verify` say them.

    Args:
        images: of the data set, in [0, 1].
        adapter: what the user has said of the model, which is not contradicted.
    """
    known = (adapter.scale, adapter.mean, adapter.std, adapter.normalize)
    if any(value is not None for value in known):
        # What the adapter does, undone before it: the model's own pixels are those of the data set.
        scale, (mean, std) = adapter.scale or 1.0, adapter.normalization()
        if adapter.channels == "BGR":
            mean, std = mean[::-1], std[::-1]
        undone = partial(_undone, scale=scale, mean=mean, std=std)
        yield Variant("no --scale, --mean, --std or --normalize", undone)
    else:
        usual = {((0.5,), (0.5,)): "--normalize half", ((0.0,), (1 / 255,)): "--scale 255"}
        for mean, std in usual_pixels(images):
            listed = [",".join(f"{value:g}" for value in values) for values in (mean, std)]
            said = next((words for each, words in usual.items() if each == (mean, std)), "--mean {} --std {}")
            said = said.format(*listed)
            yield Variant(said, partial(normalized, mean=mean, std=std))
    if images.shape[1] == 3 and adapter.channels == "RGB":
        yield Variant("--channels BGR", lambda pixels: pixels[:, ::-1])


def _undone(images: Images, scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> Images:
    shift, width = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (mean, std))
    return (images * width + shift) / np.float32(scale)


def _findings(found: Plausibility, is_function: bool, columns: Sequence[int]) -> Iterator[Finding]:
    """What speaks against the model; `columns` are its own numbers of the data set's classes, as far as was said."""
    count = found.count
    if found.finite < count:
        yield Finding("not-finite", f"the answers to {count - found.finite} of {count} clean images are not finite")
    if found.better is not None:
        variant, correct = found.better
        way = "let the function do what" if is_function else "verify it with"
        option = f"{way} {variant.said}" + (" does" if is_function else "")
        yield Finding(
            "looks-unnormalised",
            f"{found.correct} of {count} clean images are answered rightly, and {correct} with other pixels; {option}",
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
