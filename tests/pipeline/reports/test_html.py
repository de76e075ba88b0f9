"""The page of a run, without a browser: well-formed, escaped, the report's own numbers, whatever the run has."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeproof.pipeline.cli.terminal import show
from edgeproof.pipeline.reports import formats
from edgeproof.pipeline.reports.html.page import page
from edgeproof.pipeline.reports.html.sections.speed import front
from edgeproof.pipeline.results.report import Report
from edgeproof.stages.norms.base import norms
from edgeproof.stages.statistics.paired import difference_interval
from edgeproof.stages.statistics.proportions import clopper_pearson
from edgeproof.stages.verify.checks.base import checks
from edgeproof.stages.verify.effort import STANDARD
from edgeproof.stages.verify.routes.base import routes
from edgeproof.targets.base import targets
from rich.console import Console

from tests.finished_run import bits, finished
from tests.pipeline.reports.html_runs import ASSIGNMENT, BUILD, write_run

_EMPTY = {"meta", "link", "img", "br", "hr", "input"}


class Read(HTMLParser):
    """A page as elements: its tags must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.headings: list[str] = []
        self.tables: dict[str, list[dict[str, str]]] = {}
        self.feed(text)
        assert self.open == [], "everything is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if found.get("id") else []
        href = found.get("href") or ""
        self.targets += [href[1:]] if href.startswith("#") else []
        if tag == "a" and "download" in found:
            content = base64.b64decode(href.partition("base64,")[2]).decode()
            self.tables[str(found["download"])] = list(csv.DictReader(io.StringIO(content)))
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)
            if self.open[-1] == "h2":
                self.headings.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def glossary_of(text: str) -> dict[str, str]:
    """The page's terms, each in each form, and what it says of them."""
    words = text.partition('<h2 id="glossary">')[2]
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", words)
    return {term: meaning for terms, meaning in found for term in terms.split(", ")}


def read(folder: Path) -> Read:
    return Read(page(Report.load(folder / "report.json")))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def rewritten(run: Path, **more: Any) -> Read:
    path = run / "report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))
    return read(run)


def test_the_page_says_above_all_else_what_when_and_how(run: Path):
    found = rewritten(
        run,
        when="2026-12-01T14:03:11Z",
        test_images=540,
        dataset={"name": "digits", "digest": "d" * 64},
        threat_model={"norm": "Linf", "eps": 8 / 255},
        environment={"edgeproof": "0.1.0", "attacks": "pyautoattack 0.2.0", "machine": {}},
        verify={**STANDARD, "square_queries": 100},
    )
    head = found.text.partition("From teacher to engine")[2].partition("From teacher to engine")[0]
    assert "openvino int8 0.875 [0.732, 0.958] robust Of 40 test images 39 are answered rightly as they are;" in head
    assert "for 35 of them no attack that was run changed that, moving each pixel by at most 8/255." in head
    assert f"SHA-256 {'o' * 64}" in head
    assert f"data digits, test split: 40 of 540 images SHA-256 {'d' * 64}" in head
    assert "threat Linf eps 8/255, untargeted" in head
    assert "when 2026-12-01 14:03:11 UTC" in head
    assert "edgeproof 0.1.0, pyautoattack 0.2.0; less than the standard effort (square_queries)" in head
    assert "standard effort" in rewritten(run, verify=dict(STANDARD)).text
    assert "by at most 0.5 in Euclidean distance" in rewritten(run, threat_model={"norm": "L2", "eps": 0.5}).text


def test_no_term_stands_on_the_page_without_its_explanation(run: Path):
    meanings = {each.name: each.summary for each in routes.describe()} | {"square": "Searches at random."}
    figures = {"onnxruntime": {"checks": {}, "meanings": meanings}}
    (run / "verification" / "figures.json").write_text(json.dumps(figures))
    text = page(Report.load(run / "report.json"))
    explained = glossary_of(text)
    visible = " ".join(re.sub(r"<(script|style|pre).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL).split())
    every = {each.name for registry in (routes, checks, norms, targets) for each in registry.describe()}
    every |= {"retention", "Clopper–Pearson", "McNemar", "Tango", "student", "teacher", "engine", "eps", "int8", "gate"}
    every |= {"robust accuracy", "twin", "confidence sequence", "u8s8", "surrogate", "white box", "route", "logits"}
    for term in every:
        # The page's own nouns may stand in the plural.
        stands = re.search(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", visible, re.IGNORECASE) is not None
        assert (term in explained) == stands, term
    assert explained["square"] == "Searches at random."
    assert not [term for term, meaning in explained.items() if not meaning]
    assert {"route", "replay", "retention"} <= {*explained}


def test_one_sample_is_no_samples(tmp_path: Path):
    lone = finished(tmp_path / "run", {"onnxruntime": bits(1)}, student=bits(1))
    report = Report.load(lone / "report.json")
    out = io.StringIO()
    show(report, Console(file=out, width=80))
    page_text = read(lone).text
    for text in (page_text, out.getvalue(), formats["summary.md"](report)):
        assert re.search(r"\b1 (samples|test images|images|gates|epochs|files)\b", text) is None
        assert "on 1 test image," in " ".join(text.split())
    assert "Of 1 test image 1 is answered rightly as it is; for 1 of them" in page_text


def test_a_run_without_gates_is_called_measured(tmp_path: Path):
    found = read(write_run(tmp_path / "run", gates=()))
    assert "– MEASURED No gate was asked for." in found.text
    assert "nothing had to be met" in found.text
    assert "PASS" not in found.text


def test_the_page_is_well_formed_whole_and_always_the_same(run: Path):
    text = page(Report.load(run / "report.json"))
    found = Read(text)
    assert len(found.ids) == len(set(found.ids))
    assert {*found.targets} <= {*found.ids}
    assert page(Report.load(run / "report.json")) == text
    assert "://" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", text), "no address but the names of SVG"
    assert len(text) < 1_500_000
    assert found.headings == [
        "Which engine ships",
        "From teacher to engine",
        "Findings",
        "By route",
        "Accuracy over eps",
        "By class",
        "Adversarial images",
        "Speed, size, robustness",
        "Training",
        "Provenance",
        "Words",
    ]


def test_the_verdict_comes_first_with_its_reasons(tmp_path: Path):
    failing = read(write_run(tmp_path / "failing", gates=("robust_accuracy >= 0.99", "clean_accuracy >= 0.5")))
    assert failing.text.index("FAIL") < failing.text.index("From teacher to engine", 200)
    assert "misses >= 0.99" in failing.text
    doubtful = read(write_run(tmp_path / "doubtful", doubts=("openvino: huge-eps: 3 of 4 withstand",)))
    assert "INCONCLUSIVE" in doubtful.text
    assert "openvino: huge-eps: 3 of 4 withstand" in doubtful.text
    assert "All" not in read(write_run(tmp_path / "plain", gates=())).text.split("From teacher")[0]


def test_figures_are_the_reports_own(run: Path):
    tables, subjects = read(run).tables, Report.load(run / "report.json").subjects
    by_name = {row["subject"]: row for row in tables["ledger-accuracy.csv"]}
    for each in subjects:
        row = by_name[each["name"]]
        assert [float(row[key]) for key in ("clean", "robust")] == [each["clean_accuracy"], each["robust_accuracy"]]
        assert [float(row["robust_low"]), float(row["robust_high"])] == each["robust_accuracy_ci"]
        curve = [row for row in tables["curve.csv"] if row["subject"] == each["name"]]
        assert [float(row["accuracy"]) for row in curve] == each["curve"]["accuracy"]
    last = [row for row in tables["routes.csv"] if row["subject"] == "onnxruntime"][-1]
    assert float(last["left"]) == subjects[2]["robust_accuracy"]
    assert [float(last["low"]), float(last["high"])] == list(clopper_pearson(36, 40))
    assert last["broken"] == "1"


def test_steps_are_compared_sample_by_sample(run: Path):
    steps = {(row["from"], row["to"]): row for row in read(run).tables["steps.csv"]}
    assert set(steps) == {("teacher", "student"), ("student", "onnxruntime"), ("student", "openvino")}
    found = steps["student", "openvino"]
    assert (found["lost"], found["gained"], float(found["difference"])) == ("2", "0", -2 / 40)
    assert (float(found["low"]), float(found["high"])) == difference_interval(2, 0, 40)


def test_classes_and_who_was_lost(run: Path):
    found = read(run)
    dogs = {row["subject"]: row for row in found.tables["classes.csv"] if row["class"] == "dog"}
    assert [dogs["openvino"][key] for key in ("samples", "robust")] == ["13", "11"], "samples 1 and 4 of 13 dogs"
    lost = [(row["engine"], row["row"], row["class"]) for row in found.tables["lost-samples.csv"]]
    assert lost == [("onnxruntime", "6", "cat"), ("openvino", "6", "cat"), ("openvino", "8", "dog")]
    assert "true class cat, openvino" in found.text
    assert "The student answers no answer" in found.text


def test_texts_of_others_stay_texts(tmp_path: Path):
    evil = '<script>alert("1")</script><img src=x onerror=alert(2)>&amp;'
    subjects = [(name, fallen, {**more, "warnings": [evil]}) for name, fallen, more in BUILD]
    folder = write_run(tmp_path / "evil", subjects, name=evil, classes=(evil, "b", "c"), recipe={"name": evil})
    plain = read(write_run(tmp_path / "plain"))
    found = read(folder)
    assert found.tags.count("script") == plain.tags.count("script") == 1
    assert found.tags.count("img") == plain.tags.count("img"), "nothing of it became an element"
    assert evil in " ".join(found.texts)
    assert found.tables["findings.csv"][0]["finding"] == evil


def test_a_proof_of_one_model_has_what_it_can_have(tmp_path: Path):
    folder = write_run(tmp_path / "proof", [("onnxruntime", [1, 2], {"size_bytes": 9})])
    (folder / "student" / "metrics.csv").unlink()
    found = read(folder)
    assert found.headings == [
        "Accuracy",
        "By route",
        "Accuracy over eps",
        "By class",
        "Adversarial images",
        "Provenance",
        "Words",
    ]
    assert "steps.csv" not in found.tables
    assert "lost-samples.csv" not in found.tables, "lost against whom"


def test_a_report_alone_is_a_page_too(run: Path, tmp_path: Path):
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "report.json").write_bytes((run / "report.json").read_bytes())
    found = read(alone)
    assert "By class" not in found.headings
    assert "Adversarial images" not in found.headings
    assert "By route" in found.headings


def test_broken_files_are_left_out(run: Path):
    for name in ("verification/openvino.npz", "verification/examples.npz", "manifest.json"):
        (run / name).write_bytes(b"no archive, no JSON")
    found = read(run)
    assert "By class" in found.headings, "of the engines that have bits"
    assert "Training" not in found.headings


def test_what_was_not_measured_says_what_measures_it(tmp_path: Path):
    subjects = [(name, fallen, more) for name, fallen, more in BUILD]
    folder = write_run(tmp_path / "run", subjects)
    data = json.loads((folder / "report.json").read_text())
    for each in data["subjects"]:
        del each["curve"]
    (folder / "report.json").write_text(json.dumps(data))
    found = read(folder)
    assert "unless it is given --no-curve" in found.text
    for each in data["subjects"]:
        each["sequential"] = {"population": 500, "error": 0.05}
        each["robust_accuracy_ci"] = None
    (folder / "report.json").write_text(json.dumps(data))
    sequential = read(folder)
    assert "Accuracy over eps" not in sequential.headings
    assert "95 % confidence sequence" in sequential.text
    assert {row["low"] for row in sequential.tables["routes.csv"]} == {""}, "no interval of a fixed sample"
    assert {row["low"] for row in sequential.tables["classes.csv"]} == {""}, "nor of a class of one"
    assert "Clopper" not in sequential.text


def test_a_mixed_run_shows_its_layers(tmp_path: Path):
    folder = write_run(tmp_path / "mixed", files={"quantize/onnxruntime/assignment.json": json.dumps(ASSIGNMENT)})
    found = read(folder)
    assert "Layer by layer" in found.headings
    layers = {row["layer"]: row["in_float"] for row in found.tables["layers-onnxruntime.csv"]}
    assert layers == {"conv1": "True", "conv2": "False"}
    assert "of 2 assignments int8 but 1 of 2 layers was chosen" in found.text


def test_corruptions_have_a_section(tmp_path: Path):
    corruptions = {"severities": [1, 5], "constants": "CIFAR-10-C", "accuracy": {"contrast": [0.9, 0.5]}}
    more = {"corrupted_accuracy": 0.7, "corrupted_accuracy_ci": [0.6, 0.8], "corruptions": corruptions}
    found = read(write_run(tmp_path / "run", [("onnxruntime", [1], more)]))
    assert "Common corruptions" in found.headings
    assert [float(row["accuracy"]) for row in found.tables["corruptions.csv"]] == [0.9, 0.5]


def test_large_images_stay_small(tmp_path: Path):
    folder = write_run(tmp_path / "large", classes=tuple(f"class {number}" for number in range(3)))
    path = folder / "verification" / "examples.npz"
    with np.load(path) as arrays:
        found = dict(arrays)
    images = np.random.default_rng(0).random((len(found["index"]), 3, 224, 224))
    noise = 8 / 255 * np.sign(np.random.default_rng(1).normal(size=images.shape))
    times = 8
    found = {key: value if key == "classes" else np.repeat(value, times, axis=0) for key, value in found.items()}
    found |= {"clean": images.repeat(times, 0).astype(np.float16), "adversarial": (images + noise).repeat(times, 0)}
    np.savez(path, **found)
    text = page(Report.load(folder / "report.json"))
    assert text.count("data:image/webp") == 3 * 12
    assert len(text) < 1_500_000, "even where every pixel is noise"


def test_of_many_classes_the_worst_are_drawn_and_all_are_listed(tmp_path: Path):
    folder = write_run(tmp_path / "many", classes=tuple(f"class {number}" for number in range(40)))
    for path in (folder / "verification").glob("*.npz"):
        with np.load(path) as arrays:
            found = dict(arrays)
        if "clean_correct" in found:
            np.savez(path, **{**found, "label": np.arange(40)})
    found = read(folder)
    drawing = page(Report.load(folder / "report.json")).partition('id="classes-plot"')[2].partition("</svg>")[0]
    labels = re.findall(r">class (\d+)<", drawing)
    assert len(labels) == 20
    assert {"1", "2", "3"} < set(labels), "the lost ones among them"
    assert len({row["class"] for row in found.tables["classes.csv"]}) == 40


def test_nothing_beats_the_front():
    points: list[tuple[float, float]] = [(1, 0.5), (2, 0.4), (3, 0.9), (2, 0.6), (3, 0.8)]
    best = front(points)
    assert best == [(1, 0.5), (2, 0.6), (3, 0.9)]
    for x, y in points:
        beaten = any((a <= x and b >= y) and (a, b) != (x, y) for a, b in points)
        assert ((x, y) in best) == (not beaten)


@pytest.mark.parametrize("command", [["gate"], ["report"], ["report", "--json"]])
def test_text_and_gates_do_not_wait_for_the_plot_library(run: Path, command: list[str]):
    arguments: list[Any] = [command[0], str(run), *command[1:]]
    code = (
        f"import sys; from edgeproof.pipeline.cli.main import app\ntry: app({arguments!r})\n"
        "except SystemExit: print({m for m in ('matplotlib', 'jinja2', 'torch') if m in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().splitlines()[-1] == "set()"
