"""`compile` of an ONNX file: engines of a vendor's file behind its adapter, verified without another word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.model_file import sha256_of

from tests.e2e.conftest import FEW, edgeproof
from tests.e2e.vendor import as_vendors_ship, with_a_background

pytestmark = pytest.mark.slow

ON = ("--dataset", "digits")
ATTACKED = (*ON, "--eps", "0.1", "--samples", "20", "--workers", "1", *FEW, "--json")


def bits(folder: Path, target: str) -> dict[str, np.ndarray]:
    return dict(np.load(folder / "verification" / f"{target}.npz"))


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_an_engine_of_a_vendors_file_is_verified_as_the_file_is(float_onnx: Path, tmp_path: Path):
    vendor, out = as_vendors_ship(float_onnx, tmp_path / "vendor.onnx"), tmp_path / "out"
    asked = ("compile", vendor, "--target", "openvino", *ON, "--normalize", "half", "--out", out, "--json")
    done = edgeproof(*asked)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    about = json.loads((out / "compile.json").read_text())
    assert about["adapter"] == ["mean 0.5", "std 0.5", "layout NHWC"]
    assert about["model"]["sha256"] == sha256_of(vendor)
    assert about["engine"]["sha256"] == sha256_of(Path(result["engine_path"]))
    files = ("verify", result["engine_path"], "--target", "openvino", "--graph", result["graph_path"])
    engine = edgeproof(*files, *ATTACKED, "--out", tmp_path / "engine")
    behind = ("--target", "openvino", "--normalize", "half", "--out", tmp_path / "behind")
    itself = edgeproof("verify", vendor, *ATTACKED, *behind)
    assert (engine.code, itself.code) == (0, 0), engine.err + itself.err
    theirs, own = bits(tmp_path / "engine", "openvino"), bits(tmp_path / "behind", "openvino")
    assert theirs.keys() == own.keys()
    assert all(np.array_equal(theirs[name], own[name]) for name in own)
    # The same again builds nothing; another request replaces what is there, and takes nothing of it along.
    before = stamps(out)
    assert edgeproof(*asked).code == 0
    assert stamps(out) == before
    (out / "model.onnx").write_bytes(b"altered")
    assert edgeproof(*asked).code == 0
    assert sha256_of(out / "model.onnx") == about["engine"]["sha256"]
    other = edgeproof("compile", vendor, *ON, "--mean", "0.25", "--out", out)
    assert other.code == 0, other.err
    assert json.loads((out / "compile.json").read_text())["target"] == "onnxruntime"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["behind", "engine", "out", "vendor.onnx"]


def test_a_program_of_executorch_has_the_adapter_in_it(float_onnx: Path, tmp_path: Path):
    pytest.importorskip("executorch")
    vendor, out = as_vendors_ship(float_onnx, tmp_path / "vendor.onnx"), tmp_path / "out"
    adapter = ("--normalize", "half", "--target", "executorch")
    done = edgeproof("compile", vendor, *ON, *adapter, "--out", out)
    assert done.code == 0, done.err
    assert sorted(path.name for path in out.iterdir()) == [
        "compile.json",
        "delegation.json",
        "model.onnx",
        "model.pte",
    ]
    told = done.out.partition("edgeproof ")[2].partition(" --dataset")[0].split()
    found = edgeproof(*told, *ATTACKED, "--out", tmp_path / "engine")
    assert found.code == 0, found.err
    (subject,) = json.loads(found.out)["subjects"]
    assert subject["clean_accuracy"] > 0.9


def test_a_background_class_stays_among_the_answers(float_onnx: Path, tmp_path: Path):
    more, out = with_a_background(float_onnx, tmp_path / "background.onnx"), tmp_path / "out"
    assert edgeproof("compile", more, *ON, "--classes-offset", "1", "--out", out).code == 0
    verified = edgeproof("verify", out / "model.onnx", *ATTACKED, "--out", tmp_path / "proof")
    assert verified.code == 0, verified.err


def test_what_is_refused_leaves_nothing(float_onnx: Path, tmp_path: Path):
    out = tmp_path / "deep" / "out"
    background = with_a_background(float_onnx, tmp_path / "background.onnx")
    for asked, reason in [
        ((float_onnx,), "an ONNX file needs --dataset as well"),
        ((float_onnx, *ON, "--target", "openvno"), "--target: unknown target 'openvno'"),
        ((float_onnx, *ON, "--option", "threads=2"), "--option: threads: unknown option"),
        ((float_onnx, *ON, "--set", "quantize.precision=int8"), "--store and --set: are for a recipe"),
        ((float_onnx, *ON, "--layout", "NHWC"), "--layout NHWC: input"),
        ((tmp_path / "none.onnx", *ON), "none.onnx: no such file"),
        ((tmp_path / "recipe.yaml", *ON), "are for an ONNX file; a recipe has its own"),
        ((background, *ON), "background.onnx: its classes are 11"),
        ((background, *ON, "--target", "executorch", "--classes-offset", "1"), "background.onnx: ExecuTorch refuses"),
    ]:
        done = edgeproof("compile", *asked, "--out", out)
        assert (done.code, reason in done.err, "Traceback" in done.err) == (2, True, False), done.err
        assert not out.exists()
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").touch()
    done = edgeproof("compile", float_onnx, *ON, "--out", full)
    assert (done.code, "holds other files" in done.err) == (2, True)
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]


def test_another_files_engine_is_not_replaced_unasked(float_onnx: Path, int8_onnx: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert edgeproof("compile", float_onnx, *ON, "--out", out).code == 0
    before = stamps(out)
    refused = edgeproof("compile", int8_onnx, *ON, "--out", out)
    assert (refused.code, "holds the result of another model" in refused.err) == (2, True), refused.err
    assert stamps(out) == before
    assert edgeproof("compile", int8_onnx, *ON, "--out", out, "--force").code == 0
    assert sha256_of(out / "model.onnx") == sha256_of(int8_onnx)


def test_the_folder_of_the_command_itself_is_refused_and_a_link_is_followed(float_onnx: Path, tmp_path: Path):
    here, link = tmp_path / "here", tmp_path / "link"
    here.mkdir()
    link.symlink_to("here")
    for place in (".", here, link):
        done = edgeproof("compile", float_onnx, *ON, "--out", place, cwd=here)
        assert done.code == 2
        assert (
            done.err
            == f"edgeproof: --out {place}: the command runs there, and the folder is replaced; name a new one\n"
        )
    assert list(here.iterdir()) == []
    assert edgeproof("compile", float_onnx, *ON, "--out", link).code == 0
    assert link.is_symlink()
    assert (here / "model.onnx").is_file()
