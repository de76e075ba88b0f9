"""Installed package versions, as records, digests and reports have them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

# Distributions that bring the module `onnxruntime`, all into one folder, the usual ones first.
ONNX_RUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-qnn",
    "onnxruntime-migraphx",
    "onnxruntime-rocm",
    "onnxruntime-training",
)


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those distributions that are installed; the others are left out."""
    found: dict[str, str] = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def version_in_place_of(package: str) -> str | None:
    """The version of a distribution, or of another build of ONNX Runtime in its place, `onnxruntime-gpu 1.31.1`.

    None where neither is installed.
    """
    found = installed_versions(ONNX_RUNTIMES if package == "onnxruntime" else [package])
    return found.get(package) or next((f"{name} {number}" for name, number in found.items()), None)
