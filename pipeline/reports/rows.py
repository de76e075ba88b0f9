"""Table rows and notes that the text formats share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.reading.counted import counted
from ...stages.threat import ball_text
from ..figures.ledger import LedgerCells, before
from ..figures.ledger import ledger as ledger_of
from ..figures.reading import routes_left
from ..gates.result import NO_GATE, value_text
from ..results.device_verdict import DEVICES
from ..results.report import Report

_CORRUPTION_COLUMNS = ("subject", "accuracy under common corruptions: mean [95 %], then each")
_ROUTE_COLUMNS = ("subject", "robust accuracy left after each attack, in order")
BENCH_COLUMNS = ("engine", "batch", "p50 / p90 / p99 ms", "speed-up over float ONNX", "over torch")
_PAIRED_COLUMNS = ("engine", "lost against the student", "gained", "difference [95 %, Tango]", "p (exact McNemar)")
DEVICE_COLUMNS = ("device", "engine", "outcome", "robust", "in the run", "lost", "allowed")
GATE_COLUMNS = ("gate", "limit", "value", "95 % interval", "outcome")


def verdict_words(report: Report) -> str:
    """The verdict as people read it, and of a measurement that it is none: `MEASURED: no gate was asked for`."""
    verdict = report.data["verdict"]
    return f"{verdict.upper()}: {NO_GATE}" if verdict == "measured" else verdict.upper()


def headline(report: Report) -> str:
    """The verdict and its reasons in one line."""
    reasons = "; ".join(reason for reason in report.data.get("reasons", ()) if reason != NO_GATE)
    return verdict_words(report) + (f" ({reasons})" if reasons else "")


def attack_note(report: Report) -> str:
    """What the robust accuracies mean: the threat model, and who attacked."""
    return (
        f"Robust accuracy is the worst case over all routes on {images_attacked(report)}, "
        f"{ball_text(report.data['threat_model'])}, "
        f"attacked with {report.data['environment']['attacks']}; "
    ) + " ".join((_interval_note(report), *_ledger(report).notes))


def images_attacked(report: Report) -> str:
    """How many test images were attacked: `300 test images`; where subjects differ, each number once."""
    counts = sorted({int(subject["samples"]) for subject in report.subjects})
    return " / ".join([*map(str, counts[:-1]), *(counted(count, "test image") for count in counts[-1:])])


def _interval_note(report: Report) -> str:
    """What the intervals are: of a sample of fixed size, or of one that ended when all was decided."""
    sequential = next((subject["sequential"] for subject in report.subjects if "sequential" in subject), None)
    if sequential is None:
        return "intervals are Clopper-Pearson."
    population, error = sequential.get("population"), sequential.get("error")
    of = "the test split" if population is None else population
    return (
        f"drawn at random from {of}, until every gate was decided: the intervals are a confidence sequence "
        f"for all {of}, valid at any stop" + ("." if error is None else f", at {error:.0%} error.")
    )


def adapters(report: Report) -> list[str]:
    """What stood around each subject, and each surrogate, that wanted other images or answered otherwise."""
    own = [
        f"{subject['name']}: {subject['given']['path']} behind its adapter ({', '.join(subject['adapter'])}), "
        f"attacked as {subject['path']}"
        for subject in report.subjects
        if "adapter" in subject
    ]
    lent = [each for subject in report.subjects if "adapter" in (each := subject.get("surrogate") or {})]
    return [*own, *(f"surrogate: {each['path']} behind its adapter ({', '.join(each['adapter'])})" for each in lent)]


def ledger(report: Report) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and one row a subject, in ledger order; columns that nobody fills are left out."""
    found = _ledger(report)
    names = (
        f"{subject['name']} {subject['precision']}" if "precision" in subject else subject["name"]
        for subject in report.subjects
    )
    return ("subject", *found.columns), [(name, *row) for name, row in zip(names, found.rows, strict=True)]


def tables(report: Report, *, paired: bool = False) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Columns and rows of what was measured; `paired` is whether engines beside the student are among them."""
    found = [
        (_PAIRED_COLUMNS, paired_rows(report) if paired else []),
        (_CORRUPTION_COLUMNS, corruption_rows(report)),
        (BENCH_COLUMNS, bench_rows(report)),
        (DEVICE_COLUMNS, device_rows(report)),
    ]
    return [ledger(report), (_ROUTE_COLUMNS, route_rows(report)), *((columns, rows) for columns, rows in found if rows)]


def _ledger(report: Report) -> LedgerCells:
    return ledger_of(report.subjects, "text", lambda subject: before(subject, report.subjects))


def route_rows(report: Report) -> list[tuple[str, ...]]:
    """One row a subject: the cumulative robust accuracy after every route."""
    return [
        (
            subject["name"],
            " → ".join(f"{route} {value:.3f}" for route, value in routes_left(subject).items()) + _eight_bit(subject),
        )
        for subject in report.subjects
    ]


def corruption_rows(report: Report) -> list[tuple[str, ...]]:
    """One row a subject that was shown corrupted images: its accuracy, then each corruption's over the severities."""
    return [
        (
            subject["name"],
            f"{subject['corrupted_accuracy']:.3f} {_interval(subject['corrupted_accuracy_ci'])} "
            + " ".join(
                f"{name} {sum(values) / len(values):.3f}" for name, values in subject["corruptions"]["accuracy"].items()
            ),
        )
        for subject in report.subjects
        if "corruptions" in subject
    ]


def bench_rows(report: Report) -> list[tuple[str, ...]]:
    """One row an engine and batch size: its latency, and how many times as long the others take."""
    return [
        _bench_row(subject["name"], {**row, **_in_ledger(subject, row)}, subject["bench"]["times_slower_than_engine"])
        for subject in report.subjects
        for row in subject.get("bench", {}).get("latency_ms", ())
        if row["subject"] == "engine"
    ]


def paired_rows(report: Report) -> list[tuple[str, ...]]:
    """One row an engine that was compared with the float student, sample by sample."""
    compared = [
        (subject["name"], subject["against_student"]) for subject in report.subjects if "against_student" in subject
    ]
    return [
        (
            name,
            str(found["lost"]),
            str(found["gained"]),
            f"{found['difference']:+.3f} {_interval(found['ci'])}",
            p_value(found["p"]),
        )
        for name, found in compared
    ]


def device_rows(report: Report) -> list[tuple[str, ...]]:
    """One row a device that replayed an engine: what withstands there, and in the run on the same samples."""
    return [
        (
            device["device"],
            device["engine"],
            device["outcome"],
            f"{device['robust_accuracy']:.3f}",
            f"{device['run']['robust_accuracy']:.3f}",
            str(len(device["lost"])),
            str(device["allowed"]),
        )
        for device in report.data.get(DEVICES, ())
    ]


def gate_rows(report: Report) -> list[tuple[str, ...]]:
    """One row a gate."""
    return [
        (
            gate["name"],
            gate["limit"],
            number(gate),
            _interval(gate["ci"]),
            gate["outcome"],
        )
        for gate in report.data["gates"]
    ]


def number(gate: Mapping[str, Any]) -> str:
    """A gate's value as people write it; see `value_text`."""
    return "-" if gate["value"] is None else value_text(gate["value"])


def p_value(p: float) -> str:
    """A p-value as columns show it, all to the same place."""
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def warnings(report: Report) -> list[str]:
    """Every warning, with its subject."""
    return [f"{subject['name']}: {line}" for subject in report.subjects for line in subject["warnings"]]


def _in_ledger(subject: Mapping[str, Any], row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The latency that the ledger shows of this batch size, where it does: one figure has one number."""
    found = subject.get("latency_ms") or {}
    return found if found.get("batch") == row["batch"] and {"p50", "p90", "p99"} <= {*found} else {}


def _bench_row(name: str, row: Mapping[str, Any], ratios: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
    others = (ratios.get(other, {}).get(str(row["batch"])) for other in ("float", "eager"))
    return (
        name,
        str(row["batch"]),
        " / ".join(f"{row[percentile]:.3f}" for percentile in ("p50", "p90", "p99")),
        *("" if ratio is None else f"{ratio:.2f} ×" for ratio in others),
    )


def _eight_bit(subject: Mapping[str, Any]) -> str:
    value = subject.get("robust_accuracy_8bit")
    return "" if value is None else f"; against 8-bit images {value:.3f}"


def _interval(ci: list[float] | None) -> str:
    return f"[{ci[0]:.3f}, {ci[1]:.3f}]" if ci else ""
