"""What is published tells nothing of the machine, its user or its folders: run, proof, bundle, card, evidence."""

from __future__ import annotations

import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.card.make_card import model_card
from edgeproof.pipeline.evidence.make_evidence import make_evidence
from edgeproof.stages.data import Dataset

from edgeproof import build, verify
from tests.e2e.conftest import QUICK, ROOT, SMALL

pytestmark = pytest.mark.slow

WORDS = ("marker-home", "marker-work", "marker-user", "marker-host")


def leaks(folder: Path) -> list[str]:
    """Files whose name or content, that of archives' members too, holds a word that they must not."""
    return [
        f"{path.relative_to(folder)}: {word}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".store" not in path.relative_to(folder).parts
        for content in contents(path)
        for word in WORDS
        # Arrays of text have four bytes a letter.
        if word.encode() in content.replace(b"\0", b"") or word in path.relative_to(folder).as_posix()
    ]


def contents(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                yield member.filename.encode() + archive.read(member)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of somebody on a machine, all of whose names can be told from anything else."""
    folder = tmp_path / "marker-home" / "marker-work"
    folder.mkdir(parents=True)
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "marker-user")
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("EDGEPROOF_STORE", "")  # nothing that was made elsewhere
    monkeypatch.setattr(socket, "gethostname", lambda: "marker-host")
    monkeypatch.chdir(folder)
    return folder


def test_leaks_are_found(tmp_path: Path):
    np.savez_compressed(tmp_path / "pack.npz", said=np.array(["made on marker-host"] * 99))
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("marker-user.npy", b"")
    (tmp_path / "events.marker-host").touch()
    assert {line.partition(":")[0] for line in leaks(tmp_path)} == {"events.marker-host", "other.npz", "pack.npz"}


def test_a_build_and_its_bundle_tell_no_place(work: Path):
    teacher = work / "teacher.safetensors"
    teacher.write_bytes((ROOT / "tests" / "data" / "student.safetensors").read_bytes())
    given = [f"teacher.checkpoint={teacher}", "teacher.train=null", "teacher.model=cnn8_small", "distill.epochs=1"]
    settings = [*SMALL, *QUICK, *given, "gates={clean_accuracy: '>= 0.1'}"]
    built = build(ROOT / "examples" / "digits.yaml", out=work / "run", overrides=settings, data_root=work, workers=1)
    assert leaks(built.folder) == []
    assert "../teacher.safetensors" in (built.folder / "recipe.yaml").read_text()
    again = build(ROOT / "examples" / "digits.yaml", out=work / "run", overrides=settings, data_root=work, workers=1)
    assert not again.fresh, "a finished run is recognised"
    make_bundle(built.folder, out=work / "bundle")
    assert leaks(work / "bundle") == []
    assert not any(word in model_card(built.folder) for word in WORDS)
    assert "when" not in make_evidence(built.folder, out=work / "evidence")["to_fill"], "the manifest tells"
    assert leaks(work / "evidence") == []
    rebuilt = build(built.folder / "recipe.yaml", out=work / "again", workers=1, until="teacher")
    assert rebuilt.folder == work / "again"


def test_a_proof_and_its_bundle_tell_no_place(work: Path, int8_onnx: Path, float_onnx: Path, digits: Dataset):
    for name, source in (("model.onnx", int8_onnx), ("float.onnx", float_onnx)):
        (work / name).write_bytes(source.read_bytes())
    test = digits.test.take(slice(0, 8))
    np.savez(work / "photos.npz", images=np.round(test.images * 255).astype(np.uint8), labels=test.labels)
    asked = {"dataset": str(work / "photos.npz"), "eps": 0.1, "workers": 1, "curve": False}
    few = ["verify.square_queries=20", "verify.backward=[relu]", "verify.isolate=false"]
    first = verify(work / "model.onnx", out=work / "first", overrides=few, surrogate=work / "float.onnx", **asked)
    assert first.subjects[0]["path"] == "model.onnx"
    verify(
        work / "float.onnx",
        out=work / "run",
        overrides=few,
        packs=[work / "first/adversarial/onnxruntime.npz"],
        **asked,
    )
    for run in ("first", "run"):
        assert leaks(work / run) == []
        make_bundle(work / run, out=work / f"{run}-bundle")
        assert leaks(work / f"{run}-bundle") == []
