"""Bundle making: a finished run, made ready to be carried (`edgeproof bundle`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from rich.console import Console

from ...core.reading.counted import counted
from ...core.writing.scratch import scratch_folder
from ..card.budget import recipe_in
from ..card.make_card import CARD, model_card
from ..evidence.make_evidence import evidence_files
from ..store.folder_guard import About, check_alike
from .archive import Sources, check_place, contents_at, write_bundle, write_folder
from .bom import BOM, bill_of_materials
from .contents import CONTENTS, SIGNATURE, Contents
from .device.guide import GUIDE, device_guide
from .gather import RECIPE, Gathered, described, gather
from .signing import sign_bundle


def make_bundle(
    run: Path | str,
    *,
    engines: Sequence[str] = (),
    out: Path | str | None = None,
    force: bool = False,
    plain: bool = False,
    sign: Path | str | None = None,
    license_name: str | None = None,
    author: str | None = None,
) -> dict[str, Any]:
    """Bundle a finished run: the same run gives the same bytes, but for a signature.

    Args:
        run: a finished run's folder.
        engines: an engine to bundle (default: all of the run).
        out: a folder, or a file that ends in .tar or .zip (default: `<name>-bundle.tar`).
        force: replace the bundle of another model or data set there.
        plain: without model card and bill of materials, which need the extra `bundle`.
        sign: sign it with this private key, in PEM (P-256, P-384 or P-521).
        license_name: licence of the weights, for the model card, such as `apache-2.0`.
        author: who answers for the evidence in it; nobody is named without it.

    Returns:
        `{bundle, sha256, engines, files, size_bytes, signed}`: `sha256` is that of `bundle.json`, which lists all
        others.

    Raises:
        UsageError: the run is not finished or was altered, `out` cannot be written or holds something else, or the
            key is none.
        BackendMissing: a package of the extra `bundle` or `sign` is not installed.
    """
    folder = Path(run)
    gathered = gather(folder, engines)
    place = Path(out) if out is not None else Path(f"{gathered.contents.name}-bundle.tar")
    check_place(place)
    if not force and (before := contents_at(place)) is not None:
        check_alike(place, _about(before), _about(gathered.contents))
    made = {GUIDE: device_guide(gathered.contents).encode()}
    made |= {name: text.encode() for name, text in evidence_files(folder, gathered.report, author).items()}
    if not plain:
        made |= _documents(folder, gathered, license_name, author)
    contents = replace(
        gathered.contents, files=tuple(sorted([*gathered.contents.files, *described(made)], key=attrgetter("path")))
    )
    sources: dict[str, bytes | Path] = {**gathered.sources, **made, CONTENTS: contents.text().encode()}
    if sign is not None:
        sources[SIGNATURE] = _signature(sources, Path(sign))
    write_bundle(sources, place)
    return {
        "bundle": str(place),
        "sha256": contents.sha256,
        "engines": [engine.name for engine in contents.engines],
        "files": len(sources),
        "size_bytes": sum(file.size for file in contents.files) + len(contents.text().encode()),
        "signed": sign is not None,
    }


def show_bundle(result: dict[str, Any], console: Console) -> None:
    """Print a bundle for people."""
    signed = ", signed" if result["signed"] else ""
    console.print(
        f"{result['bundle']}: {', '.join(result['engines'])}; {counted(result['files'], 'file')}, "
        f"{result['size_bytes'] / 1024:.0f} KiB{signed}\nbundle.json sha256:{result['sha256']}\n"
        f"on the device: edgeproof replay {Path(result['bundle']).name}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _documents(run: Path, gathered: Gathered, license_name: str | None, author: str | None) -> dict[str, bytes]:
    recipe = recipe_in(run / RECIPE)
    return {
        CARD: model_card(run, license_name=license_name).encode(),
        BOM: bill_of_materials(gathered.contents, gathered.report, recipe, author).encode(),
    }


def _about(contents: Contents) -> About:
    return About.of([engine.engine_sha256 for engine in contents.engines], contents.dataset)


def _signature(sources: Sources, key: Path) -> bytes:
    """Sign the bundle as it lies in a folder, whatever it is carried in."""
    with scratch_folder() as folder:
        whole = folder / "bundle"
        write_folder(sources, whole)
        return sign_bundle(whole, key)
