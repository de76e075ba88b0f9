"""ONNX-reading targets: the engine file is the ONNX file."""

from __future__ import annotations

from pathlib import Path

from ..core.model_file import copy_model
from .base import EngineFile, Target, TargetOptions
from .signature import read_signature


class OnnxFileTarget(Target):
    """A target that builds by copying, and proves the copy by loading it."""

    runs_graph = True

    def build(
        self, onnx_path: Path, out_dir: Path, *, threads: int = 1, options: TargetOptions | None = None
    ) -> EngineFile:
        """Copy the ONNX file as `model.onnx` and prove that the runtime loads it."""
        read_signature(onnx_path)
        engine = EngineFile.of(self.name, copy_model(onnx_path, out_dir, "model.onnx"), options)
        self.load(engine, threads=threads).close()
        return engine
