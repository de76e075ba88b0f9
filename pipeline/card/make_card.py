"""Model card making (`edgeproof card`): Hugging Face hub format; no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import BackendMissing
from ...core.reading.printable import in_one_line, texts_as
from ...stages.threat import ball_text
from ..results.finished_run import finished_report
from ..results.report import Report
from ..store.sample_bits import pack_manifest
from .text import card_text

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD = "README.md"
_TASK = "image-classification"


def model_card(run: Path | str, *, license_name: str | None = None) -> str:
    """The model card of a finished run: the hub's metadata, then the text.

    Args:
        run: a finished run's folder.
        license_name: licence of the weights, as the hub writes it, such as `apache-2.0` (default: said to be unknown).

    Raises:
        UsageError: the run is not finished.
        BackendMissing: `huggingface_hub` is not installed.
    """
    folder = Path(run)
    report = finished_report(folder)
    report = replace(report, data=texts_as(in_one_line, report.data))
    try:
        from huggingface_hub import ModelCard, ModelCardData
    except ImportError as error:
        raise BackendMissing(f"model cards: {error}; install it with: pip install 'edgeproof[bundle]'") from None
    dataset = dataset_of(folder)
    engines = [subject for subject in report.subjects if subject["kind"] == "engine"]
    data = ModelCardData(
        model_name=report.data["name"],
        license=license_name,
        library_name="onnx",
        pipeline_tag=_TASK,
        datasets=[dataset["name"]] if dataset else None,
        metrics=["accuracy"],
        tags=["edgeproof", "adversarial-robustness", *_precisions(engines)],
        eval_results=_results(report, engines, dataset) or None,
    )
    text = card_text(folder, report, dataset, license_name)
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def dataset_of(run: Path) -> Mapping[str, str]:
    """Name and digest of the data set that was attacked; empty where the run does not tell."""
    return texts_as(in_one_line, pack_manifest(run, needed=True).get("dataset") or {})


def _precisions(engines: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({engine["precision"] for engine in engines if engine.get("precision") not in (None, "unknown")})


def _results(report: Report, engines: Sequence[Mapping[str, Any]], dataset: Mapping[str, str]) -> list[EvalResult]:
    """Clean and robust accuracy of every engine, each with its sample count and interval."""
    from huggingface_hub import EvalResult

    threat = report.data["threat_model"]
    ball = ball_text(threat)
    found: list[EvalResult] = []
    for engine in engines:
        for key, words in (("clean_accuracy", "clean accuracy"), ("robust_accuracy", f"robust accuracy, {ball}")):
            if engine.get(key) is None:
                continue
            found.append(
                EvalResult(
                    task_type=_TASK,
                    dataset_type=dataset.get("name", "unknown"),
                    dataset_name=dataset.get("name", "unknown"),
                    dataset_split="test",
                    dataset_revision=dataset.get("digest"),
                    metric_type="accuracy",
                    metric_name=f"{words} ({engine['name']})",
                    metric_value=round(float(engine[key]), 4),
                    metric_args={
                        "samples": engine["samples"],
                        "confidence_interval_95": engine.get(f"{key}_ci"),
                        "engine_sha256": engine.get("sha256"),
                        **({"attacks": report.data["environment"]["attacks"]} if key.startswith("robust") else {}),
                    },
                )
            )
    return found
