"""Experiment tracking: TensorBoard and MLflow with the `tracking` extra; CSV in any case."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ....core.errors import UsageError
from .history import Epoch

TENSORBOARD = "tensorboard"
_EVENTS = "events.out.tfevents."


class Tracker(Protocol):
    """Where metrics go besides the CSV file."""

    def epoch(self, epoch: Epoch) -> None:
        """Record an epoch."""
        ...

    def close(self, status: str) -> None:
        """End the record: `FINISHED` or `FAILED`."""
        ...


class TensorBoard:
    """Scalars as TensorBoard event files.

    Args:
        folder: where they go.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder / TENSORBOARD
        self._writer = SummaryWriter(str(self._folder))

    def epoch(self, epoch: Epoch) -> None:
        """Record an epoch."""
        for name, value in metrics(epoch).items():
            self._writer.add_scalar(name, value, epoch.epoch)
        self._writer.flush()

    def close(self, status: str) -> None:
        """Close the files; their names, which hold the host's and the time, become numbers."""
        self._writer.close()
        for number, path in enumerate(sorted(self._folder.glob(f"{_EVENTS}*"))):
            path.rename(path.with_name(f"{_EVENTS}{number:010d}"))


class MLflow:
    """One MLflow run a training, at the server or folder that MLFLOW_TRACKING_URI names.

    Args:
        where: the recipe section, which names the run.
        parameters: the training's settings.

    Raises:
        UsageError: the place cannot be reached.
    """

    def __init__(self, where: str, parameters: Mapping[str, Any]) -> None:
        import mlflow

        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "edgeproof")
        try:
            self._client = mlflow.MlflowClient()
            found = self._client.get_experiment_by_name(experiment)
            identity = found.experiment_id if found else self._client.create_experiment(experiment)
            self._run = self._client.create_run(identity, run_name=where).info.run_id
        except Exception as error:  # the place may be anything; it fails in many ways
            reason = " ".join(str(error).split())
            raise UsageError(f"MLFLOW_TRACKING_URI: {os.environ['MLFLOW_TRACKING_URI']}: {reason}") from error
        for name, value in parameters.items():
            self._client.log_param(self._run, name, str(value)[:500])

    def epoch(self, epoch: Epoch) -> None:
        """Record an epoch."""
        for name, value in metrics(epoch).items():
            self._client.log_metric(self._run, name, value, step=epoch.epoch)

    def close(self, status: str) -> None:
        """End the run."""
        self._client.set_terminated(self._run, status)


def metrics(epoch: Epoch) -> dict[str, float]:
    """The numbers of an epoch by name."""
    return {name: value for name, value in asdict(epoch).items() if name != "epoch"}


def trackers(folder: Path | None, where: str, parameters: Mapping[str, Any]) -> list[Tracker]:
    """Return what is installed: TensorBoard where there is a folder, MLflow where MLFLOW_TRACKING_URI names a place."""
    found: list[Tracker] = []
    if folder is not None and find_spec("tensorboard") is not None:
        found.append(TensorBoard(folder))
    if os.environ.get("MLFLOW_TRACKING_URI") and find_spec("mlflow") is not None:
        found.append(MLflow(where, parameters))
    return found
