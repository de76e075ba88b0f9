"""Pack manifest: what lies in a run's `adversarial/`, and where it comes from; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UsageError
from ..core.model_file import sha256_of
from ..core.reading.arrays import read_npz
from ..core.reading.json_text import read_json
from ..core.versions import installed_versions

MANIFEST = "manifest.json"
_PACKAGES = ("edgeproof", "pyautoattack", "torch", "onnxruntime", "numpy")


def write_manifest(folder: Path, subjects: Mapping[str, str | None], about: Mapping[str, Any]) -> None:
    """Describe the packs of a folder in its `manifest.json`.

    Args:
        folder: holds `<subject>.npz` of every subject.
        subjects: names of the subjects, and the SHA-256 of each one's file where it is one.
        about: what holds for all packs: `threat`, `dataset`.
    """
    packages = installed_versions(_PACKAGES)
    manifest = {
        "schema_version": 1,
        "attacks": f"pyautoattack {packages.get('pyautoattack')}",
        "packages": packages,
        **about,
        "packs": [_entry(folder / f"{name}.npz", name, digest) for name, digest in subjects.items()],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


def read_manifest(path: Path) -> Mapping[str, Any]:
    """Read a manifest of packs: `packs`, each with `file` and `sha256`, and what it says of them.

    Raises:
        ValueError: it is none; the message names the key.
        OSError: it is missing or cannot be read.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("packs", []), list):
        raise ValueError("packs: a list is needed")
    for key in ("threat", "dataset"):
        if not isinstance(found.get(key, {}), dict):
            raise ValueError(f"{key}: a mapping is needed")
    if not all(isinstance(text, str) for text in (found.get("dataset") or {}).values()):
        raise ValueError("dataset: texts are needed")
    for number, pack in enumerate(found.get("packs", [])):
        if not isinstance(pack, dict) or not all(isinstance(pack.get(key), str) for key in ("file", "sha256")):
            raise ValueError(f"packs.{number}: file and sha256 are needed")
        counts = pack.get("attacks", {})
        if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
            raise ValueError(f"packs.{number}.attacks: numbers of candidates by attack are needed")
        if not isinstance(pack.get("subject", ""), str):
            raise ValueError(f"packs.{number}.subject: a name is needed")
    return found


def check_pack(pack: Path) -> Path | None:
    """Hold a pack against the manifest beside it; return the manifest, None where there is none.

    Raises:
        UsageError: the pack is not the one that the manifest lists, or the manifest is broken.
    """
    path = pack.parent / MANIFEST
    try:
        listed = {entry["file"]: entry["sha256"] for entry in read_manifest(path)["packs"]}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"{path}: no manifest of packs; copy adversarial/{MANIFEST} of the run, or remove it"
        ) from None
    if pack.name not in listed:
        known = ", ".join(sorted(listed)) or "none"
        raise UsageError(f"{pack}: {path} does not list it (listed: {known}); packs keep their names")
    if sha256_of(pack) != listed[pack.name]:
        raise UsageError(f"{pack}: altered or truncated, {path} lists another SHA-256; copy it from the run again")
    return path


def _entry(path: Path, subject: str, digest: str | None) -> dict[str, Any]:
    arrays = read_npz(path, ("index", "robust", "attack"))
    _, first = np.unique(arrays["index"], return_index=True)
    robust = arrays["robust"][first]
    attacks, counts = np.unique(arrays["attack"], return_counts=True)
    return {
        "file": path.name,
        "sha256": sha256_of(path),
        "subject": subject,
        "subject_sha256": digest,
        "samples": len(first),
        "candidates": int(counts.sum()),
        "attacks": dict(zip(attacks.tolist(), counts.tolist(), strict=True)),
        # Of the pack's samples: those that were misclassified as they are have no candidates.
        "robust_accuracy": float(robust.mean()) if len(robust) else None,
    }
