"""TensorRT library: finding and importing TensorRT and TensorRT for RTX."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from ...core.versions import installed_versions
from .api import Api

# The names under which each is distributed: by NVIDIA and by JetPack, and on the package index for one CUDA each.
_DISTRIBUTED = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
_RTX_DISTRIBUTED = ("tensorrt-rtx", "tensorrt-rtx-cu13-bindings", "onnxruntime-ep-nv-tensorrt-rtx-cu13")
_RTX_BINDINGS = "tensorrt_rtx_bindings"
# A provider of ONNX Runtime; its wheel is where NVIDIA publishes the libraries.
_RTX_LIBRARIES = "onnxruntime_ep_nv_tensorrt_rtx"


@dataclass(frozen=True)
class Library:
    """An imported library.

    Attributes:
        title: its name in messages.
        api: its module.
        distributed: names that it may be installed under.
    """

    title: str
    api: Api
    distributed: tuple[str, ...]

    @property
    def version(self) -> str:
        """Its version, as plans depend on it."""
        return self.api.__version__

    @property
    def distributions(self) -> dict[str, str]:
        """Versions of the distributions that it consists of."""
        return installed_versions(self.distributed) or {self.distributed[0]: self.version}


@cache
def tensorrt_library() -> Library:
    """Import TensorRT.

    Raises:
        ImportError: it is not installed.
        OSError: its shared libraries do not load.
    """
    return Library("TensorRT", cast(Api, importlib.import_module("tensorrt")), _DISTRIBUTED)


@cache
def rtx_library() -> Library:
    """Import TensorRT for RTX: from NVIDIA's own package, or from the bindings and the libraries apart.

    Raises:
        ImportError: one of them is not installed.
        OSError: the shared libraries do not load.
    """
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        return Library("TensorRT for RTX", cast(Api, importlib.import_module("tensorrt_rtx")), _RTX_DISTRIBUTED)
    if importlib.util.find_spec(_RTX_BINDINGS) is None:
        raise ModuleNotFoundError(f"No module named {_RTX_BINDINGS!r}")
    # The bindings find libraries that are loaded already, by their names.
    for name in ("libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*"):
        ctypes.CDLL(str(_shared_library(name)), mode=ctypes.RTLD_GLOBAL)
    return Library("TensorRT for RTX", cast(Api, importlib.import_module(_RTX_BINDINGS)), _RTX_DISTRIBUTED)


def _shared_library(pattern: str) -> Path:
    # Not imported: that would put links into its own folder and look for a GPU.
    spec = importlib.util.find_spec(_RTX_LIBRARIES)
    folders = (spec.submodule_search_locations if spec else None) or []
    found = sorted(file for folder in folders for file in Path(folder).glob(pattern) if not file.is_symlink())
    if not found:
        raise ModuleNotFoundError(f"No module named {_RTX_LIBRARIES!r} with {pattern.removesuffix('.*')}")
    return found[0]
