"""Paths as published files have them: relative, from home, or a name alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgeproof.core.reading.published_paths import published_path, without_places


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in somebody's home."""
    folder = tmp_path / "alice" / "work"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "alice"))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("model.onnx", "model.onnx"),
        ("{work}/nets/model.onnx", "nets/model.onnx"),
        ("{work}/../data", "~/data"),
        ("../data", "~/data"),
        ("{work}/../../bob/model.onnx", "model.onnx"),
        ("../../bob/model.onnx", "model.onnx"),
        ("/mnt/alice/model.onnx", "model.onnx"),
    ],
)
def test_a_path_tells_no_place(work: Path, given: str, shown: str):
    assert published_path(given.format(work=work)) == shown


def test_a_path_from_a_run_leads_back_to_the_file(work: Path):
    run, file = work / "runs" / "a", work / "teacher.pt"
    run.mkdir(parents=True)
    file.touch()
    assert (run / published_path(file, run)).resolve() == file
    assert published_path(run / "x.pt", run) == "x.pt"
    assert published_path(work.parent / "x.pt", run) == "~/x.pt"
    elsewhere = work.parent.parent / "run"
    assert published_path(file, elsewhere) == "~/work/teacher.pt"


def test_a_run_outside_the_working_folder_names_files_alone(work: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/")
    assert published_path(work / "x.pt", work.parent / "run") == "x.pt"


def test_texts_lose_places_and_keep_the_rest(work: Path):
    said = f"no-twin: {work}/m.onnx: /conv1/Conv at 8/255; see {work.parent}/x and pre{work}/y"
    assert without_places(said) == f"no-twin: m.onnx: /conv1/Conv at 8/255; see ~/x and pre{work}/y"
