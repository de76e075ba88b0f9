"""Network references: trained networks, as command lines name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UsageError
from ...core.function import is_function
from ...core.model_file import sha256_of
from ...stages.checkpoint import SUFFIXES, named_model
from ...stages.data import Dataset
from ...stages.models import models
from ...stages.teacher.pretrained import Pretrained, load_pretrained
from ...stages.teacher.zoo import fetch_weights, is_of_the_zoo, model_name
from ...stages.threat import ThreatModel
from ..progress import Reporter
from .arguments import option


@dataclass(frozen=True)
class NetworkReference:
    """One candidate, as named on the command line, and where it comes from.

    Attributes:
        name: as the user gave it.
        model: the model's name.
        file: the weights; None where the model brings its own.
    """

    name: str
    model: str
    file: Path | None


def find_candidate(text: str, model: str | None, threat: ThreatModel) -> NetworkReference:
    """Read what a command line names; nothing is loaded yet.

    Args:
        text: a checkpoint, `MODEL=FILE`, `package.module:function`, or `robustbench/<Name>`.
        model: the model of a checkpoint that does not name its own.
        threat: its norm says which of RobustBench's zoos.

    Raises:
        UsageError: it is none of these.
    """
    if is_function(text):
        return NetworkReference(text, text, None)
    if is_of_the_zoo(text):
        full = text if text.count("/") > 1 else model_name(text.partition("/")[2], threat.norm)
        models[full]
        return NetworkReference(text, full, None)
    given, separator, file = text.partition("=")
    if separator and not Path(text).exists():
        with option(f"{text}: "):
            models[given]
        return NetworkReference(text, given, Path(file))
    path = Path(text)
    if path.suffix not in SUFFIXES:
        what = f"no checkpoint ({', '.join(SUFFIXES)})" if path.exists() else "no file"
        raise UsageError(
            f"candidate {text!r}: is {what}, and neither package.module:function nor robustbench/<Name> nor MODEL=FILE"
        )
    if not path.is_file():
        raise UsageError(f"{text}: no such file")
    named = named_model(path) or model
    if named is None:
        raise UsageError(f"{text}: does not name its model; write MODEL={text}, or give --model")
    return NetworkReference(text, named, path)


def load_candidate(
    candidate: NetworkReference, data: Dataset, reporter: Reporter, weights: str | None = None
) -> tuple[Path | None, Pretrained]:
    """Load a candidate, and return its file as well, None where it has none.

    Args:
        candidate: which.
        data: whose images and classes it must suit.
        reporter: told of a download, and of a choice among several weights.
        weights: which of a file's, where it has several: see `TeacherConfig`.

    Raises:
        UsageError: the weights do not fit the model or the data.
        StageError: a download failed.
    """
    file = candidate.file
    if file is None and is_of_the_zoo(candidate.model):
        file = fetch_weights(candidate.model, len(data.class_names))
        reporter.notice(f"{candidate.name}: pin it in a recipe with teacher.sha256: {sha256_of(file)}")
    classes = len(data.class_names)
    shape = data.image_shape
    found = load_pretrained(candidate.model, file, shape, classes, weights=weights, where="candidate")
    if found.choice is not None:
        reporter.notice(found.choice)
    return file, found
