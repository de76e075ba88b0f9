"""torch's ONNX exporter with its translations kept: it reads all anew at every export, for 0.35 seconds."""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

import torch


def keep_translations() -> None:
    """From the first export on, for all of this process; only a table of one's own would change them."""
    export = torch.onnx.export

    @wraps(export)
    def kept(*arguments: Any, **options: Any) -> Any:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        if options.get("custom_translation_table"):
            raise NotImplementedError("it would be written into the translations that are kept")
        if not hasattr(ONNXRegistry.from_torchlib, "cache_info"):
            ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))
        return export(*arguments, **options)

    torch.onnx.export = kept
