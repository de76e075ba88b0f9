"""Teacher stage: a robust teacher obtained or trained, checked, and saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...core.errors import UsageError
from ...core.model_file import sha256_of
from ..checkpoint import WEIGHTS, named_model, save_weights
from ..data import Dataset
from ..distill import TrainingContext, train
from ..models import build_model
from ..threat import ThreatModel
from .acceptance import accept_teacher
from .config import TeacherConfig
from .pretrained import load_pretrained
from .validation import TeacherValidation
from .zoo import fetch_weights, is_of_the_zoo, model_name


def weight_file(
    config: TeacherConfig,
    threat: ThreatModel,
    classes: int,
    *,
    where: str = "teacher",
    notice: Callable[[str], None] = lambda _: None,
) -> Path | None:
    """Return the file that holds the teacher's weights, downloaded if need be; None where no file does.

    Args:
        config: which teacher.
        threat: its norm says which of RobustBench's zoos.
        classes: number of classes, which says of which data set.
        where: the recipe section, for messages.
        notice: told the digest to pin, where a download is not pinned.

    Raises:
        UsageError: the file has another digest than the pinned one, or the zoo has no such model.
        StageError: the download fails.
    """
    file = config.checkpoint
    if file is None and config.robustbench is not None:
        file = fetch_weights(model_name(config.robustbench, threat.norm), classes)
        if config.sha256 is None:
            notice(f"{where}.robustbench: {config.robustbench} is not pinned; add {where}.sha256: {sha256_of(file)}")
    if file is not None and config.sha256 is not None and (found := sha256_of(file)) != config.sha256:
        raise UsageError(f"{where}.sha256: {file} has the digest {found}, not the pinned one; it was not loaded")
    return file


def teacher_model(config: TeacherConfig, threat: ThreatModel) -> str | None:
    """Return the name of the teacher's model: the recipe's, or else what its checkpoint tells; None without either.

    Raises:
        UsageError: the checkpoint is broken.
    """
    if config.robustbench is not None:
        return model_name(config.robustbench, threat.norm)
    return config.model or (None if config.checkpoint is None else named_model(config.checkpoint))


def make_teacher(
    config: TeacherConfig,
    dataset: Dataset,
    threat: ThreatModel,
    folder: Path,
    *,
    where: str = "teacher",
    running: TrainingContext | None = None,
) -> None:
    """Write `model.safetensors` and `validation.json` (and, when trained, `last.safetensors` and `training.json`) into
    `folder`.

    Raises:
        UsageError: the weights do not fit the model or the data, or the model is none that could teach; see
            `weight_file`, `load_pretrained` and `accept_teacher`.
        StageError: training or a download failed.
    """
    classes = len(dataset.class_names)
    if config.trained_elsewhere:
        file = weight_file(config, threat, classes, where=where)
        found = load_pretrained(
            teacher_model(config, threat),
            file,
            dataset.image_shape,
            classes,
            normalize=config.normalize,
            weights=config.weights,
            where=where,
        )
        if found.choice is not None and running is not None:
            running.notice(f"{where}.checkpoint: {found.choice}")
        classifier = found.classifier(dataset.image_shape[0], where)
        what = f"{where}.model: {found.name}" if file is None else f"{where}.checkpoint: {file}"
        normalized = found.normalize is not None or is_of_the_zoo(found.name)  # the zoo's models normalise inside
        accept_teacher(classifier, dataset, what, f"{where}.normalize", normalized=normalized)
        TeacherValidation.measured(classifier, dataset, threat).save(folder)
        save_weights(found.network.state_dict(), folder / WEIGHTS, model=found.name, normalize=found.normalize)
        return
    assert config.model is not None
    model = build_model(config.model, dataset.image_shape, classes, seed=config.training.seed)
    result = train(model, dataset, threat, config.training, where=f"{where}.train", running=running)
    result.save(folder, model=config.model)
    best = result.history[result.best_epoch]
    TeacherValidation.of(dataset, best.clean_accuracy, best.pgd_accuracy).save(folder)
