"""Offline device without edgeproof: images go there as one array, logits come back as another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ....core.errors import UsageError, reason_of
from ....core.model_file import digest_of
from ....core.reading.arrays import read_npy
from ....core.reading.counted import counted
from ....core.writing.scratch import scratch_folder
from ....targets.base import Engine, Images, Logits
from ....targets.signature import ModelSignature
from ..archive import opened
from ..check import checked_contents
from ..contents import BITS, Contents
from ..run_bits import run_bits
from .show_examples import shape_of_images, shown_to

UNKNOWN = "unknown"


class Answers(Engine):
    """Logits that an engine elsewhere gave to all images of a bundle, in their order.

    Args:
        logits: float32 `[M, K]`.
        path: for messages.
        image_shape: `(C, H, W)` of the images.
    """

    def __init__(self, logits: Logits, path: Path, image_shape: tuple[int, int, int]) -> None:
        super().__init__(ModelSignature("images", "logits", image_shape, logits.shape[1], None))
        self._logits, self._path, self._next = logits, path, 0

    @classmethod
    def read(cls, path: Path, image_shape: tuple[int, int, int]) -> Answers:
        """Read an `.npy` file; arguments as of the class.

        Raises:
            UsageError: it is missing, or holds no float array of two axes.
        """
        try:
            logits = read_npy(path)
        except FileNotFoundError:
            raise UsageError(f"--logits {path}: no such file") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"--logits {path}: no .npy file of logits ({reason_of(error)})") from None
        if logits.ndim != 2 or logits.dtype.kind != "f" or not logits.shape[1]:
            raise UsageError(f"--logits {path}: logits are a float array [images, classes]")
        return cls(logits.astype(np.float32), path, image_shape)

    def __call__(self, images: Images) -> Logits:
        """The next answers, one for each image."""
        rows = self._logits[self._next : self._next + len(images)]
        if len(rows) < len(images):
            raise UsageError(f"{self._told}, the bundle has more images")
        self._next += len(images)
        return rows.copy()

    def _run(self, images: Images) -> Logits:
        raise NotImplementedError("answers are looked up")

    @property
    def _told(self) -> str:
        return f"--logits {self._path}: {counted(len(self._logits), 'answer')}"

    def check_all_used(self) -> None:
        """Raise UsageError where there are more answers than images."""
        if self._next != len(self._logits):
            raise UsageError(f"{self._told}, the bundle has {counted(self._next, 'image')}")

    def about(self, engine: str | Path | None) -> dict[str, Any]:
        """What a device's report says of the engine behind them; `engine` is its file, if it came back as well."""
        if engine is not None and not Path(engine).is_file():
            raise UsageError(f"{engine}: no such file")
        return {
            "options": {},
            "origin": "answers",
            "file": None if engine is None else Path(engine).name,
            "sha256": UNKNOWN if engine is None else digest_of(Path(engine)),
            "notes": ["edgeproof did not run on the device; what ran there is as its operator says"],
        }


class _Recorder(Engine):
    """Takes every image that an engine is shown, and writes it down."""

    def __init__(self, image_shape: tuple[int, int, int], file: Any) -> None:
        super().__init__(ModelSignature("images", "logits", image_shape, 1, None))
        self._file, self.count = file, 0

    def _run(self, images: Images) -> Logits:
        self._file.write(images.astype("<f4").tobytes())
        self.count += len(images)
        return np.zeros((len(images), 1), np.float32)


def export_images(bundle: str | Path, out: str | Path) -> dict[str, Any]:
    """Write all images that a replay shows, in its order, as one `.npy` file: float32 `[M, C, H, W]`.

    Args:
        bundle: a folder or an archive.
        out: the file.

    Returns:
        `{images, shape, bundle_sha256}`.

    Raises:
        UsageError: the bundle is not whole, or `out` cannot be written.
    """
    place = Path(out)
    with opened(Path(bundle)) as folder:
        contents = checked_contents(folder, Path(bundle))
        run = run_bits(folder / BITS / f"{contents.engines[0].reference}.npz")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with scratch_folder(place.parent) as partial:
                shape = _write(partial / "images", folder, contents, run)
                _with_header(partial / "images", partial / "whole", shape)
                (partial / "whole").replace(place)
        except OSError as error:
            raise UsageError(f"--images {place}: cannot be written ({error.strerror})") from None
    return {"images": str(place), "shape": list(shape), "bundle_sha256": contents.sha256}


def show_images(result: dict[str, Any], console: Console) -> None:
    """Print what was written, for people."""
    console.print(
        f"{result['images']}: float32 {result['shape']}, of bundle sha256:{result['bundle_sha256']}; "
        "bring the logits [images, classes] back as an .npy file, for --logits",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _write(path: Path, folder: Path, contents: Contents, run: Any) -> tuple[int, ...]:
    image_shape = shape_of_images(folder, contents)
    with path.open("wb") as file:
        recorder = _Recorder(image_shape, file)
        shown_to(recorder, folder, contents, run)
    return (recorder.count, *image_shape)


def _with_header(raw: Path, path: Path, shape: tuple[int, ...]) -> None:
    """Make an `.npy` file of raw numbers; its header names their count, which is known last."""
    with raw.open("rb") as source, path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        while block := source.read(1 << 20):
            file.write(block)
