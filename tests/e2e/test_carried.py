"""What `docs/device.md` and `docs/bundle.md` tell people to type, typed: every line of a `console` block, in order."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from edgeproof.targets.base import targets

from tests.e2e.conftest import FEW, ROOT, Finished, edgeproof, small_build

pytestmark = pytest.mark.slow

NEEDS = {"openvino": "openvino", "tensorrt_rtx": "tensorrt_rtx"}


def commands(document: str) -> list[list[str]]:
    """The arguments of every `edgeproof` line in a document's console blocks."""
    text = (ROOT / "docs" / document).read_text()
    lines = [line for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert lines, f"{document} has no console blocks"
    found = [shlex.split(line) for line in lines]
    assert all(line[0] == "edgeproof" for line in found), "other programs are not run here"
    return [line[1:] for line in found]


@pytest.fixture
def place(run: Path, tmp_path: Path) -> Path:
    """A folder with the recipe and the finished run; the Jetson's run starts from the same store."""
    shutil.copy(run / "recipe.yaml", tmp_path / "recipe.yaml")
    for name in ("digits", "jetson"):
        shutil.copytree(run, tmp_path / "runs" / name)
    return tmp_path


def missing(line: list[str]) -> str:
    """The runtime that a line needs and that is not here."""
    for word, target in NEEDS.items():
        state = targets[target].available()
        if any(word in part for part in line) and not (state.available or state.builds):
            return target
    return ""


def test_the_device_recipe(place: Path):
    # Fewer samples and queries: the walk is looked at, not the figure.
    lines = [["8" if part == "300" else part for part in line] for line in commands("device.md")]
    lines = [line + FEW if line[0] == "verify" else line for line in lines]
    for line in lines:
        if target := missing(line):
            pytest.skip(f"{target} is not here")
    done: dict[str, Finished] = {}
    for line in lines:
        done[shlex.join(line)] = found = edgeproof(*line, cwd=place)
        # The small run's model is weak and its samples are few; what is asked of the walk is that nothing gets lost.
        assert found.code == 0, f"{line}: {found.err}{found.out}"
    report = json.loads((place / "runs/digits/report.json").read_text())
    assert [(each["device"], each["target"], each["outcome"]) for each in report["devices"]] == [
        ("board 7", "onnxruntime", "pass"),
        (report["devices"][1]["device"], "openvino", "pass"),
    ]
    assert report["devices"][0]["lost"] == []
    for device in report["devices"]:
        assert device["robust_accuracy"] <= device["run"]["robust_accuracy"]
    proof = json.loads((place / "runs/jetson-proof/report.json").read_text())
    assert [device["device"] for device in proof["devices"]] == ["in its place"]
    bundled = next(out.out for line, out in done.items() if line.startswith("bundle runs/digits"))
    replayed = next(out.out for line, out in done.items() if line.startswith("replay digits.tar"))
    digest = re.search(r"sha256:([0-9a-f]{64})", bundled)
    assert digest is not None
    assert digest[1] in replayed, "both ends name the same bundle"
    # The devices stay where the finished build is asked for again.
    again = edgeproof(*small_build(place / "runs/digits", "--json"))
    assert "devices" in json.loads(again.out)


def test_the_bundle_recipe(place: Path):
    pytest.importorskip("cyclonedx", reason="the extra `bundle` is not installed")
    pytest.importorskip("model_signing", reason="the extra `sign` is not installed")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (place / "release.pem").write_bytes(private)
    (place / "release.pub").write_bytes(public)
    said = {}
    for line in commands("bundle.md"):
        found = edgeproof(*line, cwd=place)
        assert found.code == 0, f"{line}: {found.err}{found.out}"
        said[line[0]] = found.out
    assert "signature valid" in said["verify-bundle"]
    card = (place / "CARD.md").read_text()
    assert card.replace("\n", "") == (place / "release" / "README.md").read_text().replace("\n", "")
    report = json.loads((place / "runs/digits/report.json").read_text())
    for words in ("license: apache-2.0", "cnn8_small", "scheme `u8s8`", "100 steps, 1 restart", "50 queries"):
        assert words in card
    for subject in report["subjects"]:
        if subject["kind"] == "engine":
            assert subject["sha256"] in card
    content = bytearray((place / "signed.tar").read_bytes())
    content[len(content) // 2] ^= 1
    (place / "signed.tar").write_bytes(content)
    altered = edgeproof("verify-bundle", "signed.tar", "--key", "release.pub", cwd=place)
    assert altered.code == 1
    assert "altered or truncated" in altered.out
