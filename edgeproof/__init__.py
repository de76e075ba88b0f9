"""edgeproof: distil a robust teacher, build the edge engine, and attack the engine itself.

    import edgeproof

    edgeproof.build("recipe.yaml")
    edgeproof.verify("model.onnx", dataset="digits", eps="8/255", out="proof")
    edgeproof.verify(module, images, labels, eps="8/255")

`edgeproof.maite` has engines and data sets by MAITE's protocols.

The functions are imported on first use, so that neither `import edgeproof` nor `edgeproof --help` waits for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeproof.pipeline.commands.build import build as build  # pyright: ignore[reportMissingImports]
    from edgeproof.pipeline.commands.teachers import rank_teachers as rank_teachers  # pyright: ignore[reportMissingImports]
    from edgeproof.pipeline.commands.verify import verify as verify  # pyright: ignore[reportMissingImports]

    __version__: str

__all__ = ["__version__", "build", "rank_teachers", "verify"]

_HOMES = {"build": "build", "rank_teachers": "teachers", "verify": "verify"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("edgeproof")
    if name in _HOMES:
        return getattr(import_module(f"edgeproof.pipeline.commands.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
