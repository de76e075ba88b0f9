"""In-toto attestation of the verdict, `test-result.intoto.json`: Statement v1, predicate test-result v0.1.

The statement is unsigned; in a signed bundle the bundle's signature covers it. A gate that is inconclusive has failed
here, for whoever asks for `PASSED`, as it has in the exit code. A run that no gate was asked of is a warning.

Sources: https://github.com/in-toto/attestation, spec/v1/statement.md and spec/predicates/test-result.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..gates import STOPPING
from ..reports.reasons import reasons
from ..results.report import Report

TEST_RESULT = "test-result.intoto.json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
_RESULTS = {"pass": "PASSED", "measured": "WARNED"}
# By what the tests were configured: the recipe, and the adversarial examples that were shown to the engines.
_CONFIGURES = re.compile(r"recipe\.yaml|adversarial/[^/]+\.npz")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def statement(report: Report, digests: Mapping[str, str]) -> str | None:
    """Return the statement as JSON; None where no engine is known by a digest.

    Args:
        report: the run's.
        digests: SHA-256 of the run's files, by their paths in it.
    """
    subjects = subjects_of(report)
    if not subjects:
        return None
    found = reasons(report)
    configuration = [_resource(path, digest) for path, digest in digests.items() if _CONFIGURES.fullmatch(path)]
    for name, digest in (
        ("recipe, as it was resolved", report.data["recipe_digest"].removeprefix("sha256:")),
        ("data set", report.data.get("dataset", {}).get("digest")),
    ):
        configuration += [_resource(name, digest)] if _is_sha256(digest) else []
    undecided = {"inconclusive": " (inconclusive)"}
    whole = {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "result": result_of(report),
            "configuration": configuration,
            "passedTests": [each.title for each in found if each.outcome == "pass"],
            "warnedTests": [f"{each.title}: {each.says}" for each in found if each.outcome == "measured"],
            "failedTests": [each.title + undecided.get(each.outcome, "") for each in found if each.outcome in STOPPING],
        },
    }
    return json.dumps(whole, indent=1) + "\n"


def subjects_of(report: Report) -> list[dict[str, Any]]:
    """The engines that ship, each by its digest; that of a file with external data is of all its files together."""
    return [
        _resource(subject["name"], subject["sha256"])
        for subject in report.subjects
        if subject["kind"] == "engine" and _is_sha256(subject.get("sha256"))
    ]


def result_of(report: Report) -> str:
    """`PASSED`, `WARNED` or `FAILED`."""
    return _RESULTS.get(report.data["verdict"], "FAILED")


def _resource(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest}}


def _is_sha256(digest: object) -> bool:
    return isinstance(digest, str) and _SHA256.fullmatch(digest) is not None
