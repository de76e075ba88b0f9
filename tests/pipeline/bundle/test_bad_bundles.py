"""What is no bundle, or no longer one, and device reports of elsewhere: one line, exit 2, nothing half-written."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.core.reading.checksum import with_checksum
from edgeproof.pipeline.bundle.device.bring_back import bring_back
from edgeproof.pipeline.bundle.device.replay_bundle import replay_bundle
from edgeproof.pipeline.bundle.make_bundle import make_bundle

from tests.pipeline.bundle.small_run import Attacks, write_run

ENGINE = "engines/onnxruntime/graph/model.onnx"


@pytest.fixture(scope="module")
def bundle(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a folder; not to be changed."""
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    make_bundle(finished, plain=True, out=folder)
    return folder


def refused(bundle: Path, tmp_path: Path, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        replay_bundle(bundle, out=tmp_path / "device-report.json", keep=tmp_path / "kept")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "device-report.json").exists()
    assert not (tmp_path / "kept").exists()
    assert not (tmp_path / "evil").exists()


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def link(path: Path) -> None:
    path.rename(path.parent.parent.parent / "moved")
    path.symlink_to(path.parent.parent.parent / "moved")


def link_folder(path: Path) -> None:
    moved = path.parent.rename(path.parents[3].parent / "outside")
    path.parent.symlink_to(moved)


@pytest.mark.parametrize("name", [ENGINE, "report.json", "adversarial/student.npz", "verification/onnxruntime.npz"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (alter, "altered or truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "altered or truncated"),
        (lambda path: path.unlink(), "missing; bundle.json lists it"),
    ],
    ids=["altered", "truncated", "missing"],
)
def test_a_file_that_is_not_the_listed_one(
    bundle: Path, tmp_path: Path, name: str, change: Callable[[Path], object], words: str
):
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    change(copy / name)
    refused(copy, tmp_path, f"{name}: {words}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: link(folder / ENGINE), "a symbolic link"),
        (lambda folder: link_folder(folder / ENGINE), "graph: a symbolic link"),
        (lambda folder: (folder / "more.txt").write_text(""), "more.txt: not listed"),
        (lambda folder: (folder / "bundle.json").unlink(), "bundle"),
        (lambda folder: (folder / "bundle.json").write_text("{}"), "not what `edgeproof bundle` writes"),
        (lambda folder: (folder / "bundle.json").write_text("[" * 5), "not what `edgeproof bundle` writes"),
        (lambda folder: reword(folder, "schema_version", 9), "schema_version 9"),
        (lambda folder: escape(folder, "../../evil"), "not what `edgeproof bundle` writes"),
        (lambda folder: escape(folder, "/evil"), "not what `edgeproof bundle` writes"),
        (lambda folder: escape(folder, "n" * 256), "not what `edgeproof bundle` writes"),
        (lambda folder: escape(folder, "n/" * 600 + "n"), "not what `edgeproof bundle` writes"),
        (lambda folder: reengine(folder, "graph", "../evil"), "not what `edgeproof bundle` writes"),
        (lambda folder: reengine(folder, "reference", "../evil"), "not what `edgeproof bundle` writes"),
        (lambda folder: reengine(folder, "options", {"hint": "x"}), "no options of target"),
    ],
)
def test_a_folder_that_is_no_bundle(bundle: Path, tmp_path: Path, change: Callable[[Path], object], words: str):
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    change(copy)
    if not (copy / "bundle.json").exists():
        with pytest.raises(UsageError, match="no such file"):
            replay_bundle(copy, out=tmp_path / "device-report.json")
        return
    refused(copy, tmp_path, words)


def reword(folder: Path, key: str, value: Any) -> None:
    found = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(with_checksum({**found, key: value})))


def escape(folder: Path, path: str) -> None:
    found = json.loads((folder / "bundle.json").read_text())
    reword(folder, "files", [{**found["files"][0], "path": path}, *found["files"]])


def reengine(folder: Path, key: str, value: Any) -> None:
    found = json.loads((folder / "bundle.json").read_text())
    reword(folder, "engines", [{**found["engines"][0], key: value}])


def member(name: str, kind: bytes = tarfile.REGTYPE, to: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, to, 4 if kind == tarfile.REGTYPE else 0
    return found


@pytest.mark.parametrize(
    ("added", "words"),
    [
        (member("../evil"), "member '../evil' leads out"),
        (member("/tmp/evil-of-edgeproof"), "leads out"),
        (member("engines/../../evil"), "leads out"),
        (member("report.json"), "or is there twice"),
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), "member 'link' is no plain file"),
        (member("link", tarfile.LNKTYPE, "../evil"), "member 'link' is no plain file"),
        (member("pipe", tarfile.FIFOTYPE), "member 'pipe' is no plain file"),
        (member("more.txt"), "more.txt: not listed"),
    ],
)
def test_tar_members_that_do_harm(finished: Path, tmp_path: Path, added: tarfile.TarInfo, words: str):
    make_bundle(finished, plain=True, out=tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar", "a") as archive:
        archive.addfile(added, io.BytesIO(b"evil") if added.isreg() else None)
    refused(tmp_path / "a.tar", tmp_path, words)
    assert not Path("/tmp/evil-of-edgeproof").exists()


@pytest.mark.parametrize(
    ("name", "words"), [("../evil", "leads out"), ("..\\evil", "leads out"), ("link", "is no plain file")]
)
def test_zip_members_that_do_harm(finished: Path, tmp_path: Path, name: str, words: str):
    make_bundle(finished, plain=True, out=tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        added = zipfile.ZipInfo(name)
        added.create_system, added.external_attr = 3, (0o120777 if name == "link" else 0o100644) << 16
        archive.writestr(added, "evil")
    refused(tmp_path / "a.zip", tmp_path, words)


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.9])
def test_a_truncated_archive(finished: Path, tmp_path: Path, name: str, share: float):
    make_bundle(finished, plain=True, out=tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    refused(tmp_path / name, tmp_path, rf"{name}.*(truncated|no such file|missing)")


def test_what_is_no_archive(tmp_path: Path):
    refused(tmp_path / "none.tar", tmp_path, "no such bundle")
    (tmp_path / "text.tar").write_text("no archive at all")
    refused(tmp_path / "text.tar", tmp_path, "no archive of a bundle")


def test_an_archive_that_somebody_else_packed_is_read_as_well(bundle: Path, tmp_path: Path):
    shutil.make_archive(str(tmp_path / "theirs"), "tar", bundle)
    with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as archive:
        for path in sorted(bundle.rglob("*")):
            archive.write(path, path.relative_to(bundle))
    for name in ("theirs.tar", "theirs.zip"):
        found = replay_bundle(tmp_path / name, out=tmp_path / "device-report.json")
        assert found["outcome"] == "pass"


@pytest.mark.parametrize("kind", ["gztar", "bztar", "xztar", "zip"])
def test_a_compressed_archive_is_not_unpacked(bundle: Path, tmp_path: Path, kind: str):
    """Three MB may become three GB."""
    path = Path(shutil.make_archive(str(tmp_path / "theirs"), kind, bundle))
    refused(path, tmp_path, "is compressed, as no bundle is; unpack it and name the folder")


def test_what_bundle_json_does_not_list_is_not_unpacked(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_bundle(finished, plain=True, out=tmp_path / "a.zip")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("large.bin", bytes(1 << 20))
    opened: list[str] = []
    read = zipfile.ZipFile.open

    def open_seen(self: zipfile.ZipFile, member: zipfile.ZipInfo, *rest: Any) -> Any:
        opened.append(member.filename)
        return read(self, member, *rest)

    monkeypatch.setattr(zipfile.ZipFile, "open", open_seen)
    refused(tmp_path / "a.zip", tmp_path, "large.bin: not listed")
    assert opened == ["bundle.json"]


def test_members_that_lie_over_one_another(finished: Path, tmp_path: Path):
    """One MB, listed a thousand times."""
    make_bundle(finished, plain=True, out=tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("a", bytes(1 << 20))
        for number in range(1000):
            twin = zipfile.ZipInfo(f"a{number}")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(twin, name, getattr(archive.getinfo("a"), name))
            archive.filelist.append(twin)
    refused(tmp_path / "a.zip", tmp_path, "larger than itself")


def test_a_sparse_member(finished: Path, tmp_path: Path):
    """A terabyte of nothing, in a block."""
    make_bundle(finished, plain=True, out=tmp_path / "a.tar")
    sparse = tarfile.TarInfo("sparse")
    sparse.type = tarfile.GNUTYPE_SPARSE
    with tarfile.open(tmp_path / "a.tar", "a") as archive:
        archive.addfile(sparse)
    refused(tmp_path / "a.tar", tmp_path, "is no plain file")


@pytest.fixture(scope="module")
def device_report(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("device") / "device-report.json"
    replay_bundle(bundle, out=out, device="box")
    return out


def changed(path: Path, out: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    found = json.loads(path.read_text())
    change(found)
    out.write_text(json.dumps(found))
    return out


def flip(found: dict[str, Any]) -> None:
    bits = found["bits"]["robust"]
    found["bits"]["robust"] = bits.replace("1", "0", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: found.update(kind="report"), "not what `edgeproof replay BUNDLE` writes"),
        (lambda found: found.pop("bits"), "not what `edgeproof replay BUNDLE` writes"),
        (lambda found: found["bits"].update(robust="01x"), "not what `edgeproof replay BUNDLE` writes"),
        (lambda found: found["bits"]["index"].append(2**63), "not what `edgeproof replay BUNDLE` writes"),
        (lambda found: found["bits"].update(robust="01"), "not what `edgeproof replay BUNDLE` writes"),
        (lambda found: found.update(schema_version=2), "schema_version 2"),
        (lambda found: found["proof"].update(engine="openvino"), "of engine 'openvino', which .* does not have"),
        (lambda found: found["proof"].update(bits_sha256="0" * 64), "another run.*bits_sha256"),
        (lambda found: found["proof"]["packs"].update(student="0"), "another run.*packs: student differ"),
        (lambda found: found["engine"].update(sha256="0" * 64), "not the bundle's, and says that it is"),
        (flip, "its .* is not what its bits come to"),
        (lambda found: found.update(lost=[1]), "its lost is not what its bits come to"),
        (lambda found: found.update(robust_accuracy=1.0), "its robust_accuracy is not what its bits come to"),
        (lambda found: found["bits"]["index"].reverse(), "its samples are not the run's"),
    ],
)
def test_device_reports_that_do_not_belong(
    run: Path, device_report: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=words) as caught:
        bring_back(run, changed(device_report, tmp_path / "changed.json", change))
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"} == before


def test_a_device_report_of_another_run(
    tmp_path: Path, int8_onnx: Path, float_onnx: Path, attacks: Attacks, device_report: Path
):
    write_run(tmp_path / "other", float_onnx, attacks)
    with pytest.raises(UsageError, match=r"another run than .*engine_sha256"):
        bring_back(tmp_path / "other", device_report)
    with pytest.raises(UsageError, match="no such run"):
        bring_back(tmp_path / "none", device_report)
    with pytest.raises(UsageError, match="no such file"):
        bring_back(tmp_path / "other", tmp_path / "none.json")


def test_a_place_that_cannot_be_written(finished: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--out"):
        make_bundle(finished, plain=True, out=tmp_path / "file" / "a.tar")
    assert os.listdir(tmp_path) == ["file"]
