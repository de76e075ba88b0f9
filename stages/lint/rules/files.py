"""External data: a model may read files of its own folder, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ....core.onnx_walk import tensors
from ....targets.base import Scheme
from ..reading import Reading
from ..rule import rule

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")


@rule("external-data", "external data outside the model's folder", "error", quantized_only=False)
def external_data(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Look at where every external tensor points, without opening it."""
    for name, tensor in tensors(reading.graph.model):
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), None)
        if tensor.external_data and leaves_folder(location or ""):
            yield (
                name,
                f"reads {location or 'no file'!r}, not a file of the model's folder; keep such data beside it",
            )


def leaves_folder(location: str) -> bool:
    """Whether a relative path leads out of the folder it starts in, on any system, or names no file at all."""
    if not location or _ABSOLUTE.match(location):
        return True
    depth = 0
    for part in re.split(r"[/\\]", location):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return depth == 0
