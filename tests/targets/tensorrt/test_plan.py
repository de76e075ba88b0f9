"""A plan is code: which plans are loaded, and what is said of all others. Needs no TensorRT."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from edgeproof.core.errors import StageError, UsageError
from edgeproof.targets.gpu import Gpu
from edgeproof.targets.tensorrt.options import PlanOptions, RtxOptions, TensorRtOptions
from edgeproof.targets.tensorrt.plan.compatibility import wrong_gpu, wrong_version
from edgeproof.targets.tensorrt.plan.record import Sheet, read_sheet, sheet_of
from edgeproof.targets.tensorrt.plan.seal import key_file, seal, sealed_here

ORIN = Gpu("Orin", "8.7")
RTX_3090, RTX_3080, RTX_4090 = Gpu("RTX 3090", "8.6"), Gpu("RTX 3080", "8.6"), Gpu("RTX 4090", "8.9")
RTX_2080 = Gpu("RTX 2080", "7.5")
CONTENT = b"a plan"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SHEET = Sheet("tensorrt", DIGEST, "0" * 64, "11.1.0.106", ORIN, {"max_batch": 8}, 1234, "1" * 64)


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config" / "plan.key"
    monkeypatch.setenv("EDGEPROOF_PLAN_KEY", str(path))
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "model.plan"
    path.write_bytes(CONTENT)
    SHEET.write(path)
    return path


def test_a_sheet_comes_back_as_it_was_written(plan: Path):
    assert read_sheet(plan, DIGEST) == SHEET


def test_no_sheet_no_plan(plan: Path):
    sheet_of(plan).unlink()
    with pytest.raises(StageError, match=r"executable code .* model\.plan\.json.*again from the ONNX"):
        read_sheet(plan, DIGEST)


def test_the_sheet_of_another_plan(plan: Path):
    other = hashlib.sha256(b"another plan").hexdigest()
    with pytest.raises(StageError, match=f"{other}.*{DIGEST}.*again from the ONNX"):
        read_sheet(plan, other)


@pytest.mark.parametrize("field", ["plan_sha256", "version", "target", "gpu", "options", "format"])
def test_a_changed_sheet(plan: Path, field: str):
    content = json.loads(sheet_of(plan).read_text())
    content[field] = {"plan_sha256": "2" * 64, "options": {}, "gpu": None, "format": 2}.get(field, "another")
    sheet_of(plan).write_text(json.dumps(content))
    with pytest.raises(StageError, match="again from the ONNX"):
        read_sheet(plan, DIGEST)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seal": "0", "format": 1}', '{"seal": "0"', "null", "\x00"])
def test_a_broken_sheet(plan: Path, text: str):
    sheet_of(plan).write_text(text)
    with pytest.raises(StageError, match="again from the ONNX"):
        read_sheet(plan, DIGEST)


def test_a_plan_of_another_machine(plan: Path, key: Path, monkeypatch: pytest.MonkeyPatch):
    """Its digest is right, its sheet whole: only the key tells that somebody else wrote both."""
    elsewhere = key.with_name("other.key")
    monkeypatch.setenv("EDGEPROOF_PLAN_KEY", str(elsewhere))
    with pytest.raises(StageError, match=r"built elsewhere.*EDGEPROOF_PLAN_KEY"):
        read_sheet(plan, DIGEST)  # no key here
    seal(b"anything")
    with pytest.raises(StageError, match="built elsewhere"):
        read_sheet(plan, DIGEST)  # another key
    elsewhere.write_bytes(key.read_bytes())
    assert read_sheet(plan, DIGEST) == SHEET  # the key was carried here


def test_the_key_is_the_users_alone(plan: Path, key: Path):
    assert key_file() == key
    assert key.stat().st_mode & 0o777 == 0o600
    assert os.listdir(key.parent) == [key.name]
    key.chmod(0o644)
    with pytest.raises(UsageError, match="others can read the key"):
        read_sheet(plan, DIGEST)


def test_seals_are_of_content_and_key(key: Path):
    first = seal(b"one")
    assert (first == seal(b"one"), first == seal(b"two")) == (True, False)
    assert sealed_here(b"one", first)
    assert not sealed_here(b"two", first)
    assert not sealed_here(b"one", "é")
    key.unlink()
    assert seal(b"one") != first


def test_no_place_for_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEPROOF_PLAN_KEY", str(tmp_path / "file" / "plan.key"))
    with pytest.raises(UsageError, match=r"no key to seal engines with.*EDGEPROOF_PLAN_KEY"):
        seal(b"anything")


def test_a_key_that_is_too_short(key: Path):
    seal(b"anything")
    key.write_bytes(b"")
    with pytest.raises(UsageError, match="32 bytes"):
        seal(b"anything")


@pytest.mark.parametrize(
    ("options", "here", "fits"),
    [
        (TensorRtOptions(), "11.1.0.106", True),
        (TensorRtOptions(), "11.2.1.2", False),
        (TensorRtOptions(version_compatible=True), "11.2.1.2", True),
        (TensorRtOptions(version_compatible=True), "11.1.0.99", False),
        (TensorRtOptions(version_compatible=True), "10.3.0", False),
        (RtxOptions(), "11.2.1.2", False),
    ],
)
def test_the_version_that_built_it(options: PlanOptions, here: str, fits: bool):
    problem = wrong_version(SHEET, options, "TensorRT", here)
    assert (problem is None) is fits
    assert fits or problem == f"built by TensorRT 11.1.0.106, here is {here}"


@pytest.mark.parametrize(
    ("level", "fitting"),
    [
        ("none", {RTX_3090}),
        ("same_compute_capability", {RTX_3090, RTX_3080}),
        ("ampere_plus", {RTX_3090, RTX_3080, RTX_4090, ORIN}),
    ],
)
def test_the_gpu_it_was_built_for(level, fitting: set[Gpu]):
    options = TensorRtOptions(hardware_compatibility=level)
    sheet = replace(SHEET, gpu=RTX_3090)
    every = {RTX_3090, RTX_3080, RTX_4090, ORIN, RTX_2080}
    assert {gpu for gpu in every if wrong_gpu(sheet, options, gpu) is None} == fitting
    problem = wrong_gpu(sheet, options, RTX_2080)
    assert problem == "built on RTX 3090 (compute capability 8.6), here is RTX 2080 (compute capability 7.5)"


def test_the_compute_capability_it_was_built_for():
    assert wrong_gpu(SHEET, RtxOptions(), RTX_4090) is None
    assert wrong_gpu(SHEET, RtxOptions(compute_capability="8.9"), RTX_4090) is None
    assert "8.0 and above, here is RTX 2080" in str(wrong_gpu(SHEET, RtxOptions(), RTX_2080))
    assert "8.6, here is RTX 4090" in str(wrong_gpu(SHEET, RtxOptions(compute_capability="8.6"), RTX_4090))


@pytest.mark.parametrize(
    ("kind", "chosen", "says"),
    [
        (RtxOptions, {"min_batch": 4, "opt_batch": 2}, "they are 4, 2, 32"),
        (RtxOptions, {"min_batch": 0}, "they are 0, 1, 32"),
        (TensorRtOptions, {"max_batch": 0}, "they are 1, 1, 0"),
        (RtxOptions, {"workspace_mib": 0}, "workspace_mib must be 1 or more"),
        (RtxOptions, {"compute_capability": "89"}, "must look like '8.9'"),
        (TensorRtOptions, {"optimization_level": 6}, "0 to 5"),
        (TensorRtOptions, {"timing_cache": "a.cache"}, "belong together"),
        (TensorRtOptions, {"timing_cache": "a.cache", "timing_cache_sha256": "abc"}, "64 hexadecimal digits"),
    ],
)
def test_options_that_cannot_be(kind: type[PlanOptions], chosen: dict, says: str):
    with pytest.raises(ValueError, match=says):
        kind(**chosen)
