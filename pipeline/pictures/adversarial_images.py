"""Adversarial examples as PNG files (`edgeproof pack`): clean, adversarial and difference, and a contact sheet.

Written are 8-bit images, which a file holds without loss, and the engine is asked about these: what is read from the
file fools it again. Where a data set's own pixels are no multiples of 1/255, the clean ones are rounded as well.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field
from rich.console import Console

from ...core.atomic_write import take_place
from ...core.errors import UsageError
from ...core.model_file import digest_of
from ...core.reading.counted import counted
from ...core.registry import nearest
from ...core.writing.scratch import scratch_folder
from ...stages.adversarial_pack import read_pack
from ...stages.eight_bit import nearest as on_grid
from ...stages.eight_bit import towards
from ...targets.base import EngineFile, targets
from ..bundle.device.replay_pack import correct
from ..results.engine_file import attacked_file
from ..results.finished_run import finished_report
from ..store.folder_guard import check_not_stood_in
from ..store.manifest import MANIFEST
from ..store.place import record_in
from .picture import picture_of

LISTING, SHEET = "images.csv", "contact_sheet.png"
_KINDS = ("clean", "adversarial", "difference")
_COLUMNS: tuple[str, ...] = ("row", "label", "answer", "attack", "largest_change", *_KINDS)
# Of the sheet: pixels of an image's longer side at least, rows at most, and the height of letters.
_SIDE, _ROWS, _TITLE = 64, 40, 12


def save_pictures(
    run: Path,
    *,
    png: Path,
    subject: str | None = None,
    engine: Path | None = None,
    samples: Annotated[int, Field(ge=1)] = 100,
) -> dict[str, Any]:
    """Write the adversarial images of one engine of a finished run as PNG files.

    Of each sample that an 8-bit image takes from the engine, in the data set's order: the first such image that is
    known, rounded towards the clean one as it was attacked.

    Args:
        run: the run's folder.
        png: the folder of the pictures, which must be new or empty.
        subject: the engine's name in the report, where there are several.
        engine: the engine's file, where it lies neither in the run nor where it was attacked.
        samples: so many at most.

    Returns:
        `{folder, subject, sha256, fallen, written}`: `fallen` is how many samples an 8-bit image took, of which
        `written` have their pictures.

    Raises:
        UsageError: the run has no such engine or no pack of it, its file is another, or the folder is not empty.
    """
    report = finished_report(run)
    shown = _chosen([each for each in report.subjects if each["kind"] == "engine"], subject)
    found, _ = read_pack(Path(run) / "adversarial" / f"{shown['name']}.npz", empty=True)
    path = engine or attacked_file(Path(run), shown, record_in(Path(run) / MANIFEST))
    if path is None:
        raise UsageError(f"{run}: the engine {shown['name']} is gone or altered since; name its file with --engine")
    if not path.is_file():
        raise UsageError(f"--engine {path}: no such file")
    file = EngineFile(shown["name"], path, digest_of(path), shown.get("options") or {})
    if file.sha256 != shown.get("sha256"):
        raise UsageError(f"{path}: not the engine that the run is about (another SHA-256)")
    if png.exists() and (not png.is_dir() or any(png.iterdir())):
        raise UsageError(f"--png {png}: exists and is not an empty folder")
    check_not_stood_in(png, "--png")
    runtime = targets[shown["name"]]
    runtime.check_available()
    clean, adversarial = on_grid(found["clean"]), on_grid(towards(found["adversarial"], found["clean"]))
    with runtime.load(file) as loaded:
        fools = correct(loaded, clean, found["label"]) & ~correct(loaded, adversarial, found["label"])
        _, first = np.unique(found["index"][fools], return_index=True)
        fallen = np.flatnonzero(fools)[first]
        written = fallen[:samples]
        logits = loaded(adversarial[written])
    answers = np.where(np.isfinite(logits).all(1), logits.argmax(1), -1)
    rows = [
        {
            "row": int(found["index"][place]),
            "label": int(found["label"][place]),
            "answer": int(answer),
            "attack": str(found["attack"][place]),
            "largest_change": f"{np.abs(adversarial[place] - found['clean'][place]).max():.6g}",
            **{kind: f"{found['index'][place]:05}-{kind}.png" for kind in _KINDS},
        }
        for place, answer in zip(written, answers, strict=True)
    ]
    try:
        # What a link leads to is replaced, not the link.
        _write_all(png.resolve(), rows, clean[written], adversarial[written])
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(png)) from error
    return {
        "folder": str(png),
        "subject": shown["name"],
        "sha256": file.sha256,
        "fallen": len(fallen),
        "written": len(rows),
    }


def show_pictures(result: dict[str, Any], console: Console) -> None:
    """Print what was written for people."""
    sheet = f", {SHEET} shows them" if result["written"] else ""
    console.print(
        f"{result['folder']}: {result['written']} of {counted(result['fallen'], 'sample')} that 8-bit images take from "
        f"{result['subject']}; {LISTING} lists them{sheet}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _chosen(engines: list[Any], name: str | None) -> Any:
    names = [each["name"] for each in engines]
    if name is None and len(engines) == 1:
        return engines[0]
    if name is None:
        raise UsageError(f"--subject: name one of the run's engines: {', '.join(names) or 'it has none'}")
    if name not in names:
        raise UsageError(f"--subject: the run has no engine {name!r}{nearest(name, names)} ({', '.join(names)})")
    return engines[names.index(name)]


def _write_all(folder: Path, rows: list[dict[str, Any]], clean: np.ndarray, adversarial: np.ndarray) -> None:
    """Write the rows' pictures, their list and the sheet, all or nothing; images are `[N, C, H, W]`, a row each."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder.parent) as scratch:
        made = scratch / "pictures"
        made.mkdir()
        for row, before, after in zip(rows, clean, adversarial, strict=True):
            delta = after - before
            largest = float(np.abs(delta).max()) or 1.0
            for kind, image in zip(_KINDS, (before, after, 0.5 + delta / (2 * largest)), strict=True):
                picture_of(image).save(made / row[kind])
        listing = io.StringIO()
        writer = csv.DictWriter(listing, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        (made / LISTING).write_text(listing.getvalue())
        if rows:
            _sheet(made, rows).save(made / SHEET)
        take_place(made, folder)


def _sheet(folder: Path, rows: list[dict[str, Any]]) -> Image.Image:
    """A row a sample under its title, a column a kind: `row 454: 4 -> 1`, data-set row, label and answer."""
    shown = rows[:_ROWS]
    first = Image.open(folder / shown[0][_KINDS[0]])
    factor = max(1, -(-_SIDE // max(first.size)))
    width, height = (factor * side for side in first.size)
    gap = max(4, min(width, height) // 16)
    font = ImageFont.load_default(_TITLE)
    across, down = width + gap, height + _TITLE + 2 * gap
    size = len(_KINDS) * across + gap, len(shown) * down + _TITLE + 2 * gap
    sheet = Image.new(first.mode, size, "white")
    pen = ImageDraw.Draw(sheet)
    for column, kind in enumerate(_KINDS):
        pen.text((gap + column * across, gap), kind, "black", font)
    for line, row in enumerate(shown):
        top = _TITLE + 2 * gap + line * down
        answer = "no answer" if row["answer"] < 0 else row["answer"]
        pen.text((gap, top), f"row {row['row']}: {row['label']} -> {answer}", "black", font)
        for column, kind in enumerate(_KINDS):
            picture = Image.open(folder / row[kind]).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(picture, (gap + column * across, top + _TITLE + gap))
    return sheet
