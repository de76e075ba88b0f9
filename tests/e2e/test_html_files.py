"""The page of a real run: what the build wrote is what the run's folder alone gives later."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tests.e2e.conftest import edgeproof


def test_the_page_follows_from_the_runs_folder_alone(run: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns(".store"))
    done = edgeproof("report", copy, "--output", tmp_path / "page.html")
    assert done.code == 0, done.err
    assert (tmp_path / "page.html").read_bytes() == (run / "report.html").read_bytes()


def test_the_page_is_an_artifact_and_shows_all_sections_of_a_build(run: Path):
    manifest = json.loads((run / "manifest.json").read_text())
    digests = {entry["path"]: entry["sha256"] for entry in manifest["artifacts"]}
    page = (run / "report.html").read_bytes()
    assert digests["report.html"] == hashlib.sha256(page).hexdigest()
    text = page.decode()
    for name in ("ledger", "routes", "curve", "classes", "speed", "quantization", "training", "provenance"):
        assert f'<h2 id="{name}">' in text, name
    for subject in json.loads((run / "report.json").read_text())["subjects"]:
        assert subject["sha256"] in text
    assert digests["engines/onnxruntime/model.onnx"] in text


def test_the_curve_stands_in_the_report_and_agrees_with_it(run: Path):
    subjects = {each["name"]: each for each in json.loads((run / "report.json").read_text())["subjects"]}
    assert "curve" not in subjects["teacher"]
    for name in ("student", "onnxruntime"):
        curve = subjects[name]["curve"]
        by_radius = dict(zip(curve["radii"], curve["accuracy"], strict=True))
        assert by_radius[0.1] == subjects[name]["robust_accuracy"]
        assert by_radius[0] == subjects[name]["clean_accuracy"]
        assert curve["accuracy"] == sorted(curve["accuracy"], reverse=True)
