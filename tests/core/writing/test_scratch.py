"""Scratch folders: gone after their block, and after the next one's start where their process was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from edgeproof.core.writing.scratch import scratch_folder, without_scratch

_HOLDS = """
import sys, time
from pathlib import Path
from edgeproof.core.writing.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_a_killed_processes_folder_goes_with_the_next_and_a_live_ones_stays(tmp_path: Path):
    holders = [
        subprocess.Popen([sys.executable, "-c", _HOLDS, tmp_path], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    lives, dies = (Path(process.stdout.readline().strip()) for process in holders if process.stdout)
    try:
        holders[1].send_signal(signal.SIGKILL)
        holders[1].wait()
        assert lives.is_dir()
        assert dies.is_dir()
        with scratch_folder(tmp_path) as folder:
            assert sorted(tmp_path.iterdir()) == sorted([lives, folder])
            assert (lives / "file").is_file()
        assert list(tmp_path.iterdir()) == [lives]
    finally:
        holders[0].kill()
        holders[0].communicate()
        holders[1].communicate()


def test_what_is_somebody_elses_stays(tmp_path: Path):
    (tmp_path / "outside").mkdir()
    (tmp_path / ".edgeproof-scratch-notes").mkdir()
    (tmp_path / ".edgeproof-scratch-abcd1234").symlink_to("outside")
    (tmp_path / ".edgeproof-scratch-abcd1235").write_text("a file")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(KeyError), scratch_folder(tmp_path):
        raise KeyError
    assert sorted(os.listdir(tmp_path)) == before


def test_files_of_a_scratch_folder_are_called_as_the_users_own(tmp_path: Path):
    with scratch_folder(tmp_path) as folder:
        told = f"{folder}/new/model.onnx: refused: Load model from '{folder}/model.onnx' failed: {tmp_path}/other.onnx"
        expected = f"vendor.onnx: refused: Load model from 'vendor.onnx' failed: {tmp_path}/other.onnx"
        assert without_scratch(told, "vendor.onnx") == expected
