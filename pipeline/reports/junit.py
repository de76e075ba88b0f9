"""JUnit report, `junit.xml`: a test case a gate, for whatever reads JUnit.

There is no standard; this keeps to what Jenkins' xUnit plugin validates (its junit-10.xsd) and GitLab parses.

An inconclusive gate is an `<error>`, as JUnit calls a test that could not be carried out. It is no `<skipped>`:
viewers show skipped tests as harmless, GitLab for years as passed. A case named `evidence` stands beside the gates,
since doubts about the attacks and missing targets make a verdict inconclusive while every gate meets its limit. A run
that no gate was asked of has a case `gates` that was skipped: nothing was to be met, so nothing passed.
"""

from __future__ import annotations

from xml.etree import ElementTree

from ...core.reading.printable import in_one_line
from ...stages.threat import ball_text
from ..results.report import Report
from .base import formats
from .reasons import Reason, reasons
from .rows import attack_note


@formats.register("junit.xml")
def junit(report: Report) -> str:
    """Render the verdict as JUnit XML."""
    found = reasons(report)
    name = in_one_line(report.data["name"])
    counts = {
        "tests": str(len(found)),
        "failures": str(sum(reason.outcome == "fail" for reason in found)),
        "errors": str(sum(reason.outcome == "inconclusive" for reason in found)),
    }
    suites = ElementTree.Element("testsuites", {"name": "edgeproof", **counts})
    skipped = str(sum(reason.outcome == "measured" for reason in found))
    suite = ElementTree.SubElement(suites, "testsuite", {"name": f"edgeproof {name}", **counts, "skipped": skipped})
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in _properties(report).items():
        ElementTree.SubElement(properties, "property", {"name": in_one_line(key), "value": in_one_line(value)})
    seen: dict[str, int] = {}
    for reason in found:
        # GitLab ignores all but the first of several cases with one name.
        seen[reason.title] = seen.get(reason.title, 0) + 1
        title = reason.title if seen[reason.title] == 1 else f"{reason.title} ({seen[reason.title]})"
        case = ElementTree.SubElement(suite, "testcase", {"classname": f"edgeproof.{name}", "name": title})
        _outcome(case, reason)
    ElementTree.SubElement(suite, "system-out").text = in_one_line(attack_note(report))
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'


def _outcome(case: ElementTree.Element, reason: Reason) -> None:
    if reason.outcome == "pass":
        return
    if reason.outcome == "measured":
        ElementTree.SubElement(case, "skipped", {"message": reason.text})
        return
    kind = "failure" if reason.outcome == "fail" else "error"
    found = ElementTree.SubElement(case, kind, {"type": f"gate.{reason.outcome}", "message": reason.says})
    # Some viewers show the message only, others only the text.
    found.text = f"{reason.says}\n{reason.then}"


def _properties(report: Report) -> dict[str, str]:
    return {
        "verdict": report.data["verdict"],
        "threat_model": ball_text(report.data["threat_model"]),
        "attacks": report.data["environment"]["attacks"],
        "recipe": report.data["recipe_digest"],
        **{
            f"sha256.{each['name']}": each.get("sha256") or "unknown"
            for each in report.subjects
            if each["kind"] == "engine"
        },
    }
