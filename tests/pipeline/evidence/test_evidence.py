"""Evidence of a run: the in-toto statement against its specification, the document against the report."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.evidence.document import evidence, to_fill
from edgeproof.pipeline.evidence.in_toto import TEST_RESULT, statement
from edgeproof.pipeline.evidence.make_evidence import make_evidence
from edgeproof.pipeline.evidence.text import EMPTY, evidence_text
from edgeproof.pipeline.results.report import Report

from tests.finished_run import bits, finished
from tests.pipeline.reports.test_report_formats import DOUBTED, EVIL, FAILED, MEASURED, PASSED, UNDECIDED, gate, report

jsonschema = pytest.importorskip("jsonschema", reason="the extra `dev` is not installed")

# From the text of the specification: Statement v1 (v1.1), ResourceDescriptor, and the predicate test-result v0.1.
_RESOURCE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "uri": {"type": "string"},
        "digest": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
        "content": {"type": "string"},
    },
    "anyOf": [{"required": [key]} for key in ("uri", "digest", "content")],
}
_NAMES = {"type": "array", "items": {"type": "string"}}
IN_TOTO = {
    "type": "object",
    "required": ["_type", "subject", "predicateType", "predicate"],
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "subject": {"type": "array", "minItems": 1, "items": {**_RESOURCE, "required": ["digest"]}},
        "predicateType": {"const": "https://in-toto.io/attestation/test-result/v0.1"},
        "predicate": {
            "type": "object",
            "required": ["result", "configuration"],
            "properties": {
                "result": {"enum": ["PASSED", "WARNED", "FAILED"]},
                "configuration": {"type": "array", "items": _RESOURCE},
                "url": {"type": "string"},
                "passedTests": _NAMES,
                "warnedTests": _NAMES,
                "failedTests": _NAMES,
            },
        },
    },
}
DIGEST = "b" * 64


def known(found: Report) -> Report:
    """The report of an engine whose digest is one."""
    subjects = [{**each, "sha256": DIGEST} for each in found.subjects]
    return Report({**found.data, "subjects": subjects, "recipe_digest": f"sha256:{'c' * 64}"})


def stated(found: Report, digests: dict[str, str] | None = None) -> dict[str, Any]:
    text = statement(known(found), digests or {})
    assert text is not None
    whole = json.loads(text)
    jsonschema.validate(whole, IN_TOTO)
    return whole


def test_a_run_without_gates_is_no_passed_test():
    found = stated(MEASURED)["predicate"]
    assert (found["result"], found["warnedTests"]) == ("WARNED", ["gates: no gate was asked for"])
    assert found["passedTests"] == ["evidence"]


def test_the_statement_is_about_the_engine_and_says_how_it_was_tested():
    files = {"recipe.yaml": "1" * 64, "adversarial/onnxruntime.npz": "2" * 64, "summary.md": "3" * 64}
    whole = stated(PASSED, files)
    assert whole["subject"] == [{"name": "onnxruntime", "digest": {"sha256": DIGEST}}]
    assert whole["predicate"]["result"] == "PASSED"
    used = {each["name"]: each["digest"]["sha256"] for each in whole["predicate"]["configuration"]}
    assert used["recipe.yaml"] == "1" * 64
    assert used["adversarial/onnxruntime.npz"] == "2" * 64
    assert "c" * 64 in used.values()
    assert "summary.md" not in used, "a result, and no configuration"
    assert whole["predicate"]["failedTests"] == []


@pytest.mark.parametrize(
    ("found", "failed"),
    [
        (FAILED, ["robust_accuracy >= 0.75"]),
        (UNDECIDED, ["robust_accuracy >= 0.75 (inconclusive)"]),
        (DOUBTED, ["evidence (inconclusive)"]),
    ],
)
def test_what_does_not_pass_has_failed(found: Report, failed: list[str]):
    predicate = stated(found)["predicate"]
    assert (predicate["result"], predicate["failedTests"]) == ("FAILED", failed)
    assert not {*failed} & {*predicate["passedTests"]}


def test_an_engine_without_a_digest_is_no_subject():
    assert statement(PASSED, {}) is None, "its report says 'b', which is no SHA-256"


def test_the_document_has_the_reports_figures_with_their_thresholds():
    found = evidence(known(FAILED), author="A. Tester", when="2026-12-01T10:00:00Z")
    assert [source["status"].split(";")[0].split(",")[0] for source in found["sources"]] == [
        "law",
        "published standard",
        "draft",
    ]
    clauses = {clause["name"]: clause for source in found["sources"] for clause in source["clauses"]}
    (robust,) = [each for each in clauses["Article 15(5)"]["results"] if each["metric"] == "robust_accuracy"]
    assert (robust["value"], robust["interval_95"], robust["samples"]) == (0.7, [0.65, 0.75], 300)
    assert robust["thresholds"] == [{"limit": ">= 0.75", "outcome": "fail", "decided_by": "onnxruntime"}]
    assert clauses["Article 15(5)"]["robust_accuracy_after"] == {"onnxruntime": {"whitebox": 0.7}}
    (clean,) = clauses["Article 15(1) and (3)"]["results"]
    assert clean["value"] == 0.99
    assert "who" not in to_fill(found)
    assert {"who", "when", "intended purpose"} <= {*to_fill(evidence(known(FAILED)))}


def test_the_text_marks_every_empty_field_and_claims_nothing():
    found = evidence(known(PASSED))
    text = evidence_text(found)
    assert text.count(EMPTY) == len(to_fill(found))
    assert "no declaration of conformity" in text
    assert not any(word in text.lower() for word in ("compliant", "complies", "conforms", "is certified"))


def test_findings_are_beside_the_figures_they_speak_against():
    assert "huge-eps: 40 % stand" in evidence_text(evidence(known(DOUBTED)))


def test_hostile_names_stay_text():
    evil = known(report(gate(reason=EVIL), verdict="fail", name=EVIL, doubts=[EVIL]))
    text = evidence_text(evidence(evil))
    assert "\x1b" not in text
    assert "<b>" not in text.replace("\\<", "")
    assert not any(line.startswith("::") for line in text.splitlines())
    stated(evil)


def test_the_command_writes_three_files_and_the_time_that_the_manifest_tells(tmp_path: Path):
    engines = {"onnxruntime": {"sha256": DIGEST}}
    run = finished(tmp_path / "run", {"onnxruntime": bits(50)}, more=engines)
    entries = [
        {
            "path": path.relative_to(run).as_posix(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            **({"stage": "settle", "key": "k", "started": "2026-12-01T10:00:00Z"} if path.suffix == ".npz" else {}),
        }
        for path in sorted(run.rglob("*"))
        if path.is_file()
    ]
    (run / "manifest.json").write_text(json.dumps({"request": "r", "external": {}, "artifacts": entries}))
    made = make_evidence(run, author="A. Tester", out=tmp_path / "out")
    assert made["files"] == sorted(["evidence.json", "evidence.md", TEST_RESULT])
    found = json.loads((tmp_path / "out" / "evidence.json").read_text())
    assert (found["who"], found["when"]) == ("A. Tester", "2026-12-01T10:00:00Z")
    assert "who" not in made["to_fill"]
    with pytest.raises(UsageError, match="is a run's own folder"):
        make_evidence(run, out=run)
    for author in ("", "two\nlines", "x" * 201):
        with pytest.raises(UsageError, match="--author"):
            make_evidence(run, author=author, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_evidence_of_another_engine_is_not_replaced_unasked(tmp_path: Path):
    for name, digest in (("run", DIGEST), ("other", "c" * 64)):
        finished(tmp_path / name, {"onnxruntime": bits(50)}, more={"onnxruntime": {"sha256": digest}})
    make_evidence(tmp_path / "run", out=tmp_path / "out")
    make_evidence(tmp_path / "run", out=tmp_path / "out", author="A. Tester")
    before = (tmp_path / "out" / "evidence.json").read_bytes()
    with pytest.raises(UsageError, match=r"--out .*: holds the result of another model; .* replace it with --force"):
        make_evidence(tmp_path / "other", out=tmp_path / "out")
    assert (tmp_path / "out" / "evidence.json").read_bytes() == before
    make_evidence(tmp_path / "other", out=tmp_path / "out", force=True)
    assert json.loads((tmp_path / "out" / "evidence.json").read_text())["engines"][0]["sha256"] == "c" * 64
