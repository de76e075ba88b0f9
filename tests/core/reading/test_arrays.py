"""NumPy files that may come from anybody: what numpy writes is read as numpy reads it, headers come before memory."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.reading.arrays import npz_keys, read_npy, read_npz

ARRAYS = {
    "bits": np.array([True, False]),
    "images": np.random.default_rng(0).random((2, 3, 4, 4), np.float32),
    "names": np.array(["a", "bé"]),
    "one": np.array("text"),
    "none": np.zeros((0, 3)),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_read_as_numpy_reads_them(save, tmp_path: Path):
    save(tmp_path / "a.npz", **ARRAYS)
    found = read_npz(tmp_path / "a.npz")
    assert list(found) == list(ARRAYS) == list(npz_keys(tmp_path / "a.npz"))
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert list(read_npz(tmp_path / "a.npz", ("bits", "not there"))) == ["bits"]
    np.save(tmp_path / "a.npy", ARRAYS["images"])
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), ARRAYS["images"])


def header(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def written(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("(1099511627776,)", "not of the size that its header says"),
        ("(-1, -4)", "not of the size that its header says"),
        ("(3,)", "not of the size that its header says"),
        ("(" * 200, "broken or truncated|Cannot parse header"),
        ("(1,", "broken or truncated|Cannot parse header"),
    ],
)
def test_headers_that_lie(shape: str, words: str, tmp_path: Path):
    path = written(tmp_path / "a.npz", {"a.npy": header(shape) + bytes(16)})
    with pytest.raises(ValueError, match=words):
        read_npz(path)
    (tmp_path / "a.npy").write_bytes(header(shape) + bytes(16))
    with pytest.raises(ValueError, match=words):
        read_npy(tmp_path / "a.npy")


def test_zeros_that_unpack_to_more_than_they_may(tmp_path: Path):
    path = written(tmp_path / "a.npz", {"a.npy": header("(262144,)") + bytes(1 << 20)})
    assert path.stat().st_size < 4096
    with pytest.raises(ValueError, match=r"its arrays take 1.0 MiB, where 64.0 KiB are the most"):
        read_npz(path, most=1 << 16)


def test_what_is_no_array_of_numbers(tmp_path: Path):
    np.savez(tmp_path / "a.npz", a=np.array([{}, []], object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="'readme' is no array"):
        read_npz(written(tmp_path / "b.npz", {"readme": b"x"}))
    with pytest.raises(ValueError, match="compressed as numpy does not"):
        read_npz(written(tmp_path / "c.npz", {"a.npy": header("(4,)") + bytes(16)}, zipfile.ZIP_LZMA))
    content = io.BytesIO()
    np.savez(content, **ARRAYS)
    for length in (0, 10, len(content.getvalue()) // 2):
        (tmp_path / "d.npz").write_bytes(content.getvalue()[:length])
        with pytest.raises(ValueError, match="broken or truncated"):
            read_npz(tmp_path / "d.npz")
