"""The model card, held against the hub's own reader; the bill of materials, against CycloneDX's schema."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeproof.core.errors import BackendMissing, UsageError
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.card.budget import (
    APGD_STEPS,
    FAB_STEPS,
    PROBE_DRAWS,
    PROBE_QUERIES,
    PROBE_STEPS,
    RESTARTS,
    TARGETS,
    attack_budgets,
)
from edgeproof.pipeline.card.make_card import model_card
from edgeproof.pipeline.gates import Condition
from edgeproof.pipeline.results.report import Report, regate
from edgeproof.stages.verify.routes import probe

from tests.pipeline.bundle.small_run import list_artifacts

pytest.importorskip("huggingface_hub", reason="the extra `bundle` is not installed")
cyclonedx = pytest.importorskip("cyclonedx", reason="the extra `bundle` is not installed")


@pytest.fixture(scope="module")
def folder(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("documents") / "bundle"
    make_bundle(finished, out=out)
    return out


def test_the_hub_reads_the_card_and_finds_the_reports_figures(finished: Path, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import ModelCard

    def no_network(*_: Any, **__: Any) -> None:
        raise AssertionError("the card asks the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    card = ModelCard(model_card(finished, license_name="apache-2.0"))
    report = json.loads((finished / "report.json").read_text())
    engine = report["subjects"][-1]
    data = card.data
    assert (data.model_name, data.license, data.pipeline_tag) == ("small", "apache-2.0", "image-classification")
    assert data.eval_results is not None
    found = {result.metric_name: result for result in data.eval_results}
    clean, robust = found["clean accuracy (onnxruntime)"], found["robust accuracy, Linf eps 0.4 (onnxruntime)"]
    assert clean.metric_value == pytest.approx(engine["clean_accuracy"], abs=5e-5)
    assert robust.metric_value == pytest.approx(engine["robust_accuracy"], abs=5e-5)
    assert robust.metric_args is not None
    assert robust.metric_args["samples"] == engine["samples"]
    assert robust.metric_args["confidence_interval_95"] == pytest.approx(engine["robust_accuracy_ci"])
    assert robust.metric_args["attacks"] == report["environment"]["attacks"]
    text = card.text
    for words in ("## Threat model", "## Attack budget", "What a pass does not mean", "0.4", engine["sha256"]):
        assert words in text
    assert "upper bound" in text


def test_the_budgets_are_those_of_the_attacks():
    """Whoever changes an attack changes what is said of it."""
    from pyautoattack import AutoAttack

    standard = AutoAttack(torch.nn.Flatten(), norm="Linf", eps=0.1, version="standard", device="cpu")
    assert (standard.apgd.n_iter, standard.apgd.n_restarts) == (APGD_STEPS, RESTARTS)
    assert (standard.apgd_targeted.n_target_classes, standard.apgd_targeted.n_restarts) == (TARGETS, RESTARTS)
    assert (standard.fab.n_iter, standard.fab.n_target_classes, standard.fab.n_restarts) == (
        FAB_STEPS,
        TARGETS,
        RESTARTS,
    )
    assert (probe.STEPS, probe.DRAWS, probe.QUERIES) == (PROBE_STEPS, PROBE_DRAWS, PROBE_QUERIES)


def test_every_attack_of_the_packs_has_its_row(run: Path):
    manifest = json.loads((run / "adversarial/manifest.json").read_text())
    manifest["packs"][1]["attacks"] = {"apgd-ce/relu": 7, "square": 3, "square/8-bit": 1, "new/thing": 2}
    (run / "adversarial/manifest.json").write_text(json.dumps(manifest))
    (run / "recipe.yaml").write_text("verify: {square_queries: 123}\n")
    list_artifacts(run)
    rows = [row for row in attack_budgets(run) if row.subject == "onnxruntime"]
    assert [(row.attack, row.candidates) for row in rows] == [
        ("apgd-ce", 7),
        ("square", 3),
        ("square, 8-bit images", 1),
        ("new", 2),
    ]
    assert "ReLU" in rows[0].gradients
    assert rows[0].budget == "100 steps, 1 restart"
    assert rows[1].budget.startswith("123 queries")
    assert (rows[3].gradients, rows[3].budget) == ("thing", "not recorded"), "never a made-up figure"
    card = model_card(run)
    assert "| onnxruntime | square | - | 123 queries, 1 restart | 3 |" in card


def test_the_card_tells_of_recipe_calibration_and_devices(run: Path):
    recipe = {
        "data": {"dataset": "digits", "seed": 0},
        "teacher": {"model": "cnn8_wide", "train": {"method": "trades", "epochs": 30}},
        "student": {"model": "cnn8_small"},
        "distill": {"method": "adaad", "plugins": ["igdm"], "epochs": 60, "seed": 0},
    }
    (run / "recipe.yaml").write_text(json.dumps(recipe))
    report = json.loads((run / "report.json").read_text())
    calibration = {"scheme": "u8s8", "method": "minmax", "samples": 256, "images": "clean", "split": "train"}
    report["subjects"][-1]["calibration"] = calibration
    report["subjects"][-1]["warnings"] = ["slow"]
    (run / "report.json").write_text(json.dumps(report))
    list_artifacts(run)
    card = model_card(run)
    told = (
        "`adaad` + igdm, 60 epochs",
        "trained by `trades`",
        "scheme `u8s8`",
        "256 clean images",
        "onnxruntime: slow",
    )
    for words in told:
        assert words in card


def test_the_bill_of_materials_is_valid_and_lists_what_is_there(folder: Path, finished: Path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (folder / "bom.cdx.json").read_text()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    bom = json.loads(text)
    wrong = json.loads(text)
    next(each for each in wrong["components"] if "modelCard" in each)["modelCard"]["accuracy"] = 1
    assert validator.validate_str(json.dumps(wrong)) is not None, "the schema does look at model cards"

    components = {each["bom-ref"]: each for each in bom["components"]}
    engine = components["engine/onnxruntime"]
    model = folder / "engines/onnxruntime/graph/model.onnx"
    assert engine["type"] == "machine-learning-model"
    assert engine["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(model.read_bytes()).hexdigest()}]
    pack = components["file/adversarial/onnxruntime.npz"]
    content = (folder / "adversarial/onnxruntime.npz").read_bytes()
    assert pack["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
    report = json.loads((finished / "report.json").read_text())
    metrics = {each["type"]: each for each in engine["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]}
    robust = report["subjects"][-1]["robust_accuracy"]
    assert np.isclose(float(metrics["robust_accuracy"]["value"]), robust, atol=5e-5)
    assert engine["modelCard"]["considerations"]["technicalLimitations"]
    assert components["package/onnxruntime"]["purl"] == "pkg:pypi/onnxruntime@1.2.3"
    known = {*components, bom["metadata"]["component"]["bom-ref"]}
    edges = {each["ref"]: each.get("dependsOn", []) for each in bom["dependencies"]}
    assert known.issuperset(edges)
    assert known.issuperset(ref for refs in edges.values() for ref in refs)
    assert "graph/onnxruntime" in edges["engine/onnxruntime"]
    assert "dataset" in edges["network/student"]


def test_gates_are_attested_and_every_reference_leads_somewhere(run: Path, tmp_path: Path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "doubts": ["onnxruntime: huge-eps: too good"]}))
    report = regate(Report.load(run / "report.json"), [Condition.parse_line("robust_accuracy >= 0.99")])
    (run / "report.json").write_text(report.text())
    list_artifacts(run)
    make_bundle(run, out=tmp_path / "bundle", author="A. Tester")
    text = (tmp_path / "bundle" / "bom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    declared = bom["declarations"]
    (attested,) = declared["attestations"]
    scores = {each["requirement"].split("/")[-1]: each["conformance"]["score"] for each in attested["map"]}
    assert scores == {"robust_accuracy": 0, "evidence": 0}, "neither a failed gate nor a doubt conforms"
    assert all("claims" not in each and each["counterClaims"] for each in attested["map"])
    refs = {each["bom-ref"] for key in ("claims", "evidence", "assessors") for each in declared[key]}
    refs |= {each["bom-ref"] for each in bom["definitions"]["standards"][0]["requirements"]}
    used = {each[key] for each in attested["map"] for key in ("requirement",)} | {attested["assessor"]}
    used |= {ref for each in attested["map"] for ref in each["counterClaims"]}
    used |= {ref for each in declared["claims"] for ref in each["evidence"]}
    assert used <= refs
    targets = {each["target"] for each in declared["claims"]}
    assert targets <= {"bundle", *(each["bom-ref"] for each in bom["components"])}
    assert "A. Tester" in text


def test_documents_are_the_same_bytes_again_and_listed(folder: Path, finished: Path, tmp_path: Path):
    make_bundle(finished, out=tmp_path / "again")
    listed = {each["path"] for each in json.loads((folder / "bundle.json").read_text())["files"]}
    for name in ("README.md", "DEVICE.md", "bom.cdx.json", "evidence.md", "evidence.json", "test-result.intoto.json"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
        assert name in listed
    make_bundle(finished, out=tmp_path / "plain", plain=True)
    assert not {"README.md", "bom.cdx.json"} & {path.name for path in (tmp_path / "plain").iterdir()}


@pytest.mark.parametrize("package", ["huggingface_hub", "cyclonedx.model"])
def test_a_missing_package_is_named_with_its_extra(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendMissing, match=r"pip install 'edgeproof\[bundle\]'") as caught:
        make_bundle(finished, out=tmp_path / "a.tar")
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []
    make_bundle(finished, out=tmp_path / "a.tar", plain=True)


def test_a_card_of_no_run(tmp_path: Path, run: Path):
    with pytest.raises(UsageError, match="no such report"):
        model_card(tmp_path / "none")
    shutil.rmtree(run / "adversarial")
    with pytest.raises(UsageError, match=r"adversarial/manifest\.json: missing"):
        model_card(run)
    list_artifacts(run)
    with pytest.raises(UsageError, match="no manifest of packs"):
        model_card(run)
