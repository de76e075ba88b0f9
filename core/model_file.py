"""Model file: one file, or a file and the data that belong to it, with their digest."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
from pathlib import Path

from .errors import ModelError
from .external_data import locations


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(model: Path) -> tuple[Path, ...]:
    """Return a model's files: itself, then those that hold its external data, by name.

    Raises:
        ModelError: it is missing or no ONNX file, or names data that are not a file of its own folder.
    """
    try:
        names = locations(_content(model))
        folder = model.parent.resolve()
        outside = {name for name in names if not (folder / name).resolve().is_relative_to(folder)}
    except FileNotFoundError:
        raise ModelError(f"{model}: no such file") from None
    except (ValueError, OSError) as error:
        raise ModelError(f"{model}: not a valid ONNX model, or truncated ({error})") from None
    for name in sorted(names):
        if name in outside or Path(name).is_absolute():
            raise ModelError(f"{model}: reads {name!r}, not a file of the model's folder")
        if not (model.parent / name).is_file():
            raise ModelError(f"{model}: reads {name!r}, which is not there; it belongs beside the model")
    return (model, *(model.parent / name for name in sorted(names)))


def _content(path: Path) -> bytes | mmap.mmap:
    """A file's bytes, none of which are read before somebody looks at them: most are weights."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b""


def engine_files(engine: Path) -> tuple[Path, ...]:
    """Return an engine's files: an ONNX file and its external data, an OpenVINO `.xml` and its `.bin`, or one file.

    Raises:
        ModelError: see `files_of`; or the weights of an OpenVINO model are not there.
    """
    if engine.suffix == ".onnx":
        return files_of(engine)
    if engine.suffix != ".xml":
        return (engine,)
    weights = engine.with_suffix(".bin")
    if not weights.is_file():
        raise ModelError(f"{engine}: its weights, {weights.name}, are not there; they belong beside the model")
    return engine, weights


def digest_of(model: Path) -> str:
    """SHA-256 of what a model is: of its file, or where there are more, of the list of all files' digests.

    That list is what `sha256sum MODEL DATA...` prints in the model's folder, data files by name.
    """
    files = engine_files(model)
    if len(files) == 1:
        return sha256_of(model)
    lines = "".join(f"{sha256_of(file)}  {file.relative_to(model.parent)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def copy_model(model: Path, folder: Path, name: str) -> Path:
    """Copy a model with its external data into a folder, under a name of its own; return the copy."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files_of(model)[1:]:
        target = folder / file.relative_to(model.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return Path(shutil.copyfile(model, folder / name))
