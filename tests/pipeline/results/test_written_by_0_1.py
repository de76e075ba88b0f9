"""What edgeproof 0.1 left on users' disks is read: run folders, proofs, packs, baselines, bundles."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.bundle.device.replay_bundle import replay_bundle
from edgeproof.pipeline.bundle.verify_bundle import verify_bundle
from edgeproof.pipeline.card.make_card import model_card
from edgeproof.pipeline.commands.compare import compare
from edgeproof.pipeline.commands.compare_many import page_of
from edgeproof.pipeline.commands.gate import gate
from edgeproof.pipeline.reports import formats
from edgeproof.pipeline.results.report import Report
from edgeproof.stages.data import Dataset
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.verify.earlier_packs import read_earlier
from edgeproof.stages.verify.figures import FIGURES_FILE, read_figures

OLD = Path(__file__).parents[2] / "data" / "written_by_0_1"
RUN, PROOF, BASELINE = OLD / "run", OLD / "proof", OLD / "baseline.json"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("old") / "bundle.tar"
    path.write_bytes(lzma.decompress((OLD / "bundle.tar.xz").read_bytes()))
    return path


def test_the_report_is_read_and_other_versions_are_not(tmp_path: Path):
    report = Report.load(RUN / "report.json")
    assert report.data["schema_version"] == 1
    assert [subject["name"] for subject in report.subjects] == ["teacher", "student", "onnxruntime"]
    newer = tmp_path / "report.json"
    newer.write_text(json.dumps({**report.data, "schema_version": 4}))
    with pytest.raises(UsageError, match="schema_version 4, this edgeproof reads 1 to 3"):
        Report.load(newer)


def test_its_own_gates_pass_and_others_are_decided():
    report = gate(RUN).report
    assert (report.exit_code, [entry["name"] for entry in report.data["gates"]]) == (0, ["clean_accuracy"])
    # 23 of 24 samples are after the replay what they are in the end: 0.958 [0.789, 0.999].
    for line, code in (
        ("replay_agreement >= 0.75", 0),
        ("replay_agreement >= 0.95", 4),
        ("replay_agreement >= 1", 1),
        ("size_bytes <= 13741", 0),
        ("latency_ratio <= 1", 1),
        ("twin_agreement_adversarial >= 1", 0),
        ("corrupted_accuracy >= 0.1", 4),
    ):
        assert gate(RUN, require=[line]).report.exit_code == code, line


def test_it_is_held_against_its_old_baseline():
    """It is the run that the baseline was made of."""
    report = gate(RUN, baseline=BASELINE, require=["robust_accuracy >= baseline - 0.2, resolution 0.5"]).report
    (entry,) = report.data["gates"]
    assert entry["outcome"] == "pass"
    assert (entry["against_baseline"]["baseline"], entry["against_baseline"]["lost"]) == (0.5, 0)
    sizes = [
        "size_bytes <= baseline",
        "latency_ratio <= baseline * 1.1",
        "square_agreement >= baseline, resolution 0.5",
    ]
    found = gate(RUN, baseline=BASELINE, require=sizes).report.data["gates"]
    assert [entry["value"] for entry in found] == [13741, pytest.approx(2.1324, abs=1e-4), 1]


def test_a_baseline_made_of_it_now_is_the_one_that_was_made_then(tmp_path: Path):
    assert gate(RUN, baseline=tmp_path / "new.json", update_baseline=True).written
    new, old = (json.loads(path.read_text()) for path in (tmp_path / "new.json", BASELINE))
    assert new == old


def test_it_compares_with_a_proof():
    found = compare(RUN, PROOF)
    assert (found["first"]["samples"], found["second"]["samples"]) == (24, 12)
    assert found["samples"] == len(
        np.intersect1d(*(np.load(each / "verification/onnxruntime.npz")["index"] for each in (RUN, PROOF)))
    )
    assert "verify-model" in page_of([RUN, PROOF])


@pytest.mark.parametrize("folder", [RUN, PROOF], ids=["run", "proof"])
def test_every_format_is_drawn(folder: Path):
    report = Report.load(folder / "report.json")
    engine = report.subjects[-1]
    for name in formats.names():
        assert str(report.data["name"]) in formats[name](report) or name == "metrics.txt", name
    assert f"{engine['robust_accuracy']:.4f}".rstrip("0") in formats["metrics.txt"](report)
    page = formats["report.html"](report)
    counts = json.loads((folder / "verification/figures.json").read_text())["onnxruntime"]["counts"]
    assert "asked again after the attacks" in page, "what 0.1 counted in one mapping"
    assert f">{counts['adversarial_compared']}<" in page.replace("\n", "").replace("</td>", "<")


def test_its_card_and_its_figures_are_read():
    card = model_card(RUN)
    assert "| onnxruntime | 24 | 0.792 [0.578, 0.929] | 0.500 [0.291, 0.709] | 0.500 [0.291, 0.709] | 1.000" in card
    figures = read_figures(RUN / FIGURES_FILE)
    engine = figures["onnxruntime"]
    assert (engine.samples, engine.robust_accuracy.value, engine.checks) == (24, 0.5, {})
    assert engine.beside is not None
    assert engine.beside.retention is not None
    assert engine.beside.retention.value == 1
    told, written = engine.as_json(), json.loads((RUN / FIGURES_FILE).read_text())["onnxruntime"]
    assert {key: told[key] for key in written if key != "counts"} == {
        key: value for key, value in written.items() if key != "counts"
    }


def test_its_pack_is_replayed(digits: Dataset):
    pack = PROOF / "adversarial" / "onnxruntime.npz"
    found = read_earlier([pack], digits.test, ThreatModel(norm="Linf", eps=0.1))
    assert len(found) == len(np.load(pack)["index"]) > 100


def test_its_bundle_is_replayed(bundle: Path, tmp_path: Path):
    found = replay_bundle(bundle, target="onnxruntime", device="box", out=tmp_path / "d.json", keep=tmp_path)
    assert (found["outcome"], found["lost"], found["samples"]) == ("pass", [], 24)
    checked = verify_bundle(bundle)
    assert (checked["problems"], checked["exit_code"]) == ([], 0)
