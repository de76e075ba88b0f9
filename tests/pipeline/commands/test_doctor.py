"""The environment check: builds of ONNX Runtime that lie in one folder, or one in another's place."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from edgeproof.core import versions
from edgeproof.core.versions import version_in_place_of
from edgeproof.pipeline.commands.doctor import examine


def _install(folder: Path, name: str, number: str) -> None:
    """What pip leaves of a distribution: its metadata."""
    about = folder / f"{name.replace('-', '_')}-{number}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")


def test_two_builds_of_onnx_runtime_are_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert examine()["warnings"] == []
    _install(tmp_path, "onnxruntime-gpu", "1.30.0")
    monkeypatch.syspath_prepend(tmp_path)
    (warning,) = json.loads(json.dumps(examine()))["warnings"]
    assert warning.startswith("onnxruntime and onnxruntime-gpu lie in one folder")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu" in warning


def test_another_build_in_its_place_fits_and_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert version_in_place_of("onnxruntime") == version("onnxruntime")
    _install(tmp_path, "onnxruntime-gpu", "1.30.0")
    monkeypatch.syspath_prepend(tmp_path)

    def without(package: str) -> str:
        if package == "onnxruntime":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(versions, "version", without)
    assert version_in_place_of("onnxruntime") == "onnxruntime-gpu 1.30.0"
    assert version_in_place_of("no-such-package") is None
    found = examine()
    (row,) = [each for each in found["packages"] if each["name"] == "onnxruntime"]
    assert (row["installed"], row["fits"], found["warnings"]) == ("onnxruntime-gpu 1.30.0", True, [])
