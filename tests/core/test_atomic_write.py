"""One writer of files: whole or as it was, whatever goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgeproof.core import atomic_write
from edgeproof.core.atomic_write import clear_partial_files, exchange, replacing, take_place, write_atomically


@pytest.mark.parametrize(("content", "stored"), [("grün", "grün".encode()), (b"\0\xff", b"\0\xff")])
def test_what_is_written_is_all_that_is_there(tmp_path: Path, content: str | bytes, stored: bytes):
    path = tmp_path / "below" / "file.txt"
    for _ in range(2):
        write_atomically(path, content)
        assert path.read_bytes() == stored
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("ne")
            assert path.read_text() == "old"
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_its_place_is_an_error(tmp_path: Path):
    (tmp_path / "file.txt").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "file.txt", "new")
    assert [each.name for each in tmp_path.iterdir()] == ["file.txt"]


def test_what_killed_processes_left_is_cleared(tmp_path: Path):
    (tmp_path / "shards").mkdir()
    left = tmp_path / "shards" / ".0.npz.12345.partial"
    for path in (left, tmp_path / "shards" / "0.npz", tmp_path / ".hidden", tmp_path / "mine.partial"):
        path.write_text("")
    clear_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [".hidden", "0.npz", "mine.partial"]


def test_folders_change_places_or_stay(tmp_path: Path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    changed = exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / ("other" if changed else "one")).is_file()
    assert (tmp_path / "other" / ("one" if changed else "other")).is_file()
    assert not exchange(tmp_path / "one", tmp_path / "nothing")
    assert (tmp_path / "one").is_dir()


@pytest.mark.parametrize("can", [True, False])
def test_what_was_made_takes_its_place_over_whatever_stands_there(
    can: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if not can:
        monkeypatch.setattr(atomic_write, "exchange", lambda one, other: False)
    for name in ("made", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    take_place(tmp_path / "made", tmp_path / "folder")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["made"]
    take_place(tmp_path / "folder", tmp_path / "nothing")
    assert [path.name for path in (tmp_path / "nothing").iterdir()] == ["made"]
    for name in ("new", "old"):
        (tmp_path / name).write_text(name)
    take_place(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new"
