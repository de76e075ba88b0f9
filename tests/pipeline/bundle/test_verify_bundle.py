"""A bundle that is checked: digests, signature, and whether its report is about its engines."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from edgeproof.core.errors import BackendMissing, UsageError
from edgeproof.core.reading.checksum import with_checksum
from edgeproof.pipeline.bundle.device.replay_bundle import replay_bundle
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.bundle.verify_bundle import show_verified, verify_bundle
from rich.console import Console

from tests.pipeline.bundle.small_run import weakened

GRAPH = "engines/onnxruntime/graph/model.onnx"


def write_pair(folder: Path, name: str, key: Any = None) -> tuple[Path, Path]:
    """A key pair in PEM, as openssl writes it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    plain = serialization.NoEncryption()
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def relist(folder: Path, **engine: Any) -> None:
    """Write a `bundle.json` that fits what stands there now, as somebody would who wants to be believed."""
    found = json.loads((folder / "bundle.json").read_text())
    for file in found["files"]:
        content = (folder / file["path"]).read_bytes()
        file |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    found["engines"][0] |= engine
    (folder / "bundle.json").write_text(json.dumps(with_checksum(found)))


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a"])
def test_a_whole_bundle(finished: Path, tmp_path: Path, name: str):
    made = make_bundle(finished, out=tmp_path / name, plain=True)
    found = verify_bundle(tmp_path / name)
    assert (found["problems"], found["exit_code"], found["signature"]) == ([], 0, "none")
    assert found["sha256"] == made["sha256"]


def test_a_bundle_of_the_version_without_a_checksum(finished: Path, tmp_path: Path):
    """It keeps its digest, which reports of devices and signatures have."""
    made = make_bundle(finished, out=tmp_path / "a", plain=True)
    listing = tmp_path / "a" / "bundle.json"
    older = {**json.loads(listing.read_text()), "schema_version": 1}
    del older["checksum"]
    listing.write_text(json.dumps(older, indent=1, sort_keys=True) + "\n")
    found = verify_bundle(tmp_path / "a")
    assert (found["problems"], found["sha256"]) == ([], hashlib.sha256(listing.read_bytes()).hexdigest())
    assert found["sha256"] != made["sha256"]
    for change in ({"verdict": "fail"}, {"checksum": "sha256:0"}):
        listing.write_text(json.dumps({**older, "schema_version": 2, **change}))
        with pytest.raises(UsageError, match=r"bundle\.json: altered since it was written"):
            verify_bundle(tmp_path / "a")


@pytest.mark.parametrize("name", [GRAPH, "report.json", "adversarial/student.npz", "DEVICE.md"])
def test_an_altered_byte_is_named(finished: Path, tmp_path: Path, name: str):
    make_bundle(finished, out=tmp_path / "a", plain=True)
    content = bytearray((tmp_path / "a" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a" / name).write_bytes(content)
    found = verify_bundle(tmp_path / "a")
    assert found["exit_code"] == 1
    assert found["problems"] == [f"{tmp_path / 'a' / name}: altered or truncated; bundle.json lists another SHA-256"]


def test_every_problem_is_listed(finished: Path, tmp_path: Path):
    make_bundle(finished, out=tmp_path / "a", plain=True)
    (tmp_path / "a" / GRAPH).unlink()
    (tmp_path / "a" / "more.txt").write_text("")
    found = verify_bundle(tmp_path / "a")
    assert [problem.rpartition("/a/")[2].partition(":")[0] for problem in found["problems"]] == [GRAPH, "more.txt"]


def test_another_engine_under_the_same_report(finished: Path, tmp_path: Path, int8_onnx: Path):
    make_bundle(finished, out=tmp_path / "a", plain=True)
    worse = weakened(int8_onnx, tmp_path / "worse.onnx")
    shutil.copy(worse, tmp_path / "a" / GRAPH)
    relist(tmp_path / "a")
    (problem, *_) = verify_bundle(tmp_path / "a")["problems"]
    assert problem.startswith(f"{GRAPH}: not the file that bundle.json calls engine onnxruntime")
    digest = hashlib.sha256(worse.read_bytes()).hexdigest()
    relist(tmp_path / "a", engine_sha256=digest, graph_sha256=digest)
    found = verify_bundle(tmp_path / "a")
    (problem,) = found["problems"]
    assert problem.startswith("report.json: its verdict on onnxruntime is for another engine")
    assert found["exit_code"] == 1


def test_a_report_that_was_made_better(finished: Path, tmp_path: Path):
    make_bundle(finished, out=tmp_path / "a", plain=True)
    report = json.loads((tmp_path / "a/report.json").read_text())
    report["subjects"][-1]["robust_accuracy"] = 0.99
    (tmp_path / "a/report.json").write_text(json.dumps(report))
    relist(tmp_path / "a")
    (problem,) = verify_bundle(tmp_path / "a")["problems"]
    assert problem.startswith("verification/onnxruntime.npz: its robust_accuracy is 0.")
    assert problem.endswith("the report says 0.99")


@pytest.mark.parametrize("change", ["result", "subject", "none"])
def test_a_test_result_that_is_not_the_reports(finished: Path, tmp_path: Path, change: str):
    make_bundle(finished, out=tmp_path / "a", plain=True)
    path = tmp_path / "a" / "test-result.intoto.json"
    found = json.loads(path.read_text())
    assert verify_bundle(tmp_path / "a")["problems"] == []
    if change == "result":
        found["predicate"]["result"] = "WARNED"
    elif change == "subject":
        found["subject"][0]["digest"]["sha256"] = "0" * 64
    path.write_text(json.dumps([] if change == "none" else found))
    relist(tmp_path / "a")
    (problem,) = verify_bundle(tmp_path / "a")["problems"]
    assert problem.startswith("test-result.intoto.json: ")


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a"])
def test_a_signature_holds_for_these_bytes_and_this_key_alone(finished: Path, tmp_path: Path, name: str):
    model_signing = pytest.importorskip("model_signing", reason="the extra `sign` is not installed")
    private, public = write_pair(tmp_path, "ours")
    _, other = write_pair(tmp_path, "theirs")
    made = make_bundle(finished, out=tmp_path / name, sign=private, plain=True)
    unsigned = make_bundle(finished, out=tmp_path / "unsigned", plain=True)
    assert (made["sha256"], made["signed"]) == (unsigned["sha256"], True)
    assert verify_bundle(tmp_path / name, public)["signature"] == "valid"
    assert verify_bundle(tmp_path / name)["signature"] == "unchecked"
    assert verify_bundle(tmp_path / name)["exit_code"] == 0
    found = verify_bundle(tmp_path / name, other)
    assert (found["signature"], found["exit_code"]) == ("invalid", 1)
    found = verify_bundle(tmp_path / "unsigned", public)
    assert (found["problems"], found["exit_code"]) == (["bundle.sig: the bundle is not signed"], 1)
    assert replay_bundle(tmp_path / name, out=tmp_path / "device-report.json")["outcome"] == "pass"
    if name != "a":
        return
    # The library's own verifier agrees, without us.
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public)
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=["bundle.sig"], ignore_git_paths=False)
    config.set_hashing_config(hashing).verify(tmp_path / "a", tmp_path / "a" / "bundle.sig")
    # Whoever alters a file and lists it anew is found out by the key alone.
    with (tmp_path / "a/DEVICE.md").open("a") as guide:
        guide.write("\nAll is well.\n")
    assert verify_bundle(tmp_path / "a", public)["exit_code"] == 1
    relist(tmp_path / "a")
    assert verify_bundle(tmp_path / "a")["problems"] == []
    found = verify_bundle(tmp_path / "a", public)
    assert found["signature"] == "invalid"
    assert "DEVICE.md" in found["problems"][0]


def test_keys_that_are_none(finished: Path, tmp_path: Path):
    pytest.importorskip("model_signing", reason="the extra `sign` is not installed")
    private, public = write_pair(tmp_path, "ours")
    rsa_private, rsa_public = write_pair(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    (tmp_path / "text").write_text("no key")
    before = sorted(path.name for path in tmp_path.iterdir())
    for key in (tmp_path / "none", tmp_path / "text", rsa_private, public):
        with pytest.raises(UsageError, match="--sign") as caught:
            make_bundle(finished, out=tmp_path / "a.tar", sign=key, plain=True)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    make_bundle(finished, out=tmp_path / "a.tar", sign=private, plain=True)
    for key in (tmp_path / "none", tmp_path / "text", rsa_public, private):
        with pytest.raises(UsageError, match="--key") as caught:
            verify_bundle(tmp_path / "a.tar", key)
        assert "\n" not in str(caught.value)


def test_a_missing_library_is_named_with_its_extra(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    private, public = write_pair(tmp_path, "ours")
    with pytest.raises(BackendMissing, match=r"pip install 'edgeproof\[sign\]'"):
        make_bundle(finished, out=tmp_path / "a.tar", sign=private, plain=True)
    make_bundle(finished, out=tmp_path / "a.tar", plain=True)
    with pytest.raises(BackendMissing, match=r"pip install 'edgeproof\[sign\]'"):
        verify_bundle(tmp_path / "a.tar", public)


def test_what_is_no_bundle(tmp_path: Path):
    for name in ("none.tar", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=name):
            verify_bundle(tmp_path / name)


def test_a_bundle_that_calls_a_run_without_gates_a_pass_is_of_a_version_that_did(finished: Path, tmp_path: Path):
    make_bundle(finished, out=tmp_path / "a", plain=True)
    report, listing = (tmp_path / "a" / name for name in ("report.json", "bundle.json"))
    told = {**json.loads(report.read_text()), "gates": [], "verdict": "pass", "exit_code": 0, "reasons": []}
    listing.write_text(json.dumps({**json.loads(listing.read_text()), "verdict": "pass"}))
    for version, problems in ((2, 0), (3, 1)):
        report.write_text(json.dumps({**told, "schema_version": version}))
        relist(tmp_path / "a")
        found = [each for each in verify_bundle(tmp_path / "a")["problems"] if "its verdict is pass" in each]
        assert len(found) == problems, version


def test_a_whole_bundle_is_intact_and_passes_no_gate(capsys: pytest.CaptureFixture[str]):
    found = {"bundle": "b", "sha256": "0", "files": 1, "engines": ["e"], "signature": "none", "problems": []}
    show_verified({**found, "run_verdict": "fail"}, Console())
    assert capsys.readouterr().out.endswith(
        "b: 1 file, e; not signed\nbundle.json sha256:0: INTACT\nthe run's own verdict: FAIL\n"
    )
