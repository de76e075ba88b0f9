"""Engine file of a finished run, in its folder or where the file lay that `verify` attacked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import EdgeproofError
from ...core.model_file import digest_of
from ..store.manifest import external_files


def attacked_file(run: Path, subject: Mapping[str, Any], manifest: Mapping[str, Any]) -> Path | None:
    """Find the file of an attacked engine by its digest; None where it is gone, altered, or a function.

    Args:
        run: the run's folder.
        subject: the engine in its report.
        manifest: its manifest.
    """
    given = Path(str(subject.get("path", "")))
    external = [Path(path) for path in external_files(run, manifest) or ()]
    for path in (run / given, given, *(path for path in external if path.name == given.name)):
        try:
            if path.is_file() and digest_of(path) == subject.get("sha256"):
                return path
        except EdgeproofError:
            continue
    return None
