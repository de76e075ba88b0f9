"""What the operating system refuses is exit code 3 and one line, whatever the command, and never a gate that failed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from edgeproof.pipeline.cli.main import app

from tests import warm
from tests.e2e.conftest import ENV, FEW, ROOT, small_recipe

# A disk or a system that refuses, as Python's files meet it; what only reads is spared where only writing fails.
_REFUSING = """
import builtins, errno, io, os, sys

fault, *arguments = sys.argv[1:]
open_, os_open, mkdir = io.open, os.open, os.mkdir

def refuse(path, writes):
    if isinstance(path, int) or str(path).startswith(("/dev/", "/proc/", "/sys/")):
        return
    if fault == "MemoryError":
        raise MemoryError
    number = getattr(errno, fault)
    if writes or fault == "EMFILE":
        raise OSError(number, os.strerror(number), str(path))

def refusing_open(file, mode="r", *more, **named):
    refuse(file, any(letter in mode for letter in "wxa+"))
    return open_(file, mode, *more, **named)

def refusing_os_open(path, flags, *more, **named):
    refuse(path, flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR))
    return os_open(path, flags, *more, **named)

def refusing_mkdir(path, *more, **named):
    refuse(path, True)
    return mkdir(path, *more, **named)

from edgeproof.pipeline.cli.main import main

sys.argv = ["edgeproof", *arguments]
if fault in ("stdout", "stderr"):
    number = 1 if fault == "stdout" else 2
    full = os_open("/dev/full", os.O_WRONLY)
    getattr(sys, fault).flush()
    os.dup2(full, number)
elif fault == "pipe":
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)
elif fault == "closed":
    sys.stdout = None
elif fault != "none":
    builtins.open = io.open = refusing_open
    os.open, os.mkdir = refusing_os_open, refusing_mkdir
try:
    main()
finally:  # what others do as the process ends is theirs
    builtins.open = io.open = open_
    os.open, os.mkdir = os_open, mkdir
    sys.stdout = sys.stdout or os.fdopen(1, "w")
"""
WRITING = ("ENOSPC", "EROFS", "ENAMETOOLONG")
STREAMS = ("stdout", "pipe", "closed")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("refusing") / "refusing.py"
    path.write_text(_REFUSING)
    return path


def commands(folder: Path) -> dict[str, list[str | Path]]:
    """Every command as it works on what `prepared` holds."""
    run, model, out = "runs/digits", "model.onnx", folder / "new"
    return {
        "build": ["build", *small_recipe(out, "--workers", "1")],
        "bundle": ["bundle", run, "--out", out],
        "verify-bundle": ["verify-bundle", "bundle"],
        "evidence": ["evidence", run, "--out", out],
        "card": ["card", run, "--out", out / "README.md"],
        "replay": ["replay", "bundle", "--out", folder / "new.json"],
        "device": ["device", run, "replayed.json"],
        "verify": ["verify", model, "--dataset", "digits", "--eps", "0.1", "--workers", "1", *FEW, "--out", out],
        "compare": ["compare", "runs/before", "runs/after"],
        "gate": ["gate", run, "--output", out / "gate.md"],
        "report": ["report", run, "--output", out],
        "bench": ["bench", model, "--batch", "1"],
        "lint": ["lint", model],
        "teachers": [
            "teachers",
            "cnn8_wide=teacher.safetensors",
            "--dataset",
            "digits",
            "--eps",
            "0.1",
            "--samples",
            "8",
        ],
        "init": ["init", folder / "new.yaml"],
        "doctor": ["doctor"],
        "targets": ["targets"],
        "list": ["list", "figures"],
        "pack": ["pack", run, "--png", out],
        "schema": ["schema"],
        "store": ["store", "list", "runs/digits/.store"],
    }


@cache
def asked(script: Path, folder: Path, fault: str, command: str) -> tuple[int, str, str]:
    # A build that is finished answers at once, and prints as much.
    asked = ["build", "recipe.yaml"] if command == "build" and fault in STREAMS else commands(folder)[command]
    arguments = [fault, *map(str, asked)]
    return warm.run(arguments, folder, {**ENV, "EDGEPROOF_STORE": ""}, script=script)


@pytest.fixture(scope="module")
def folder(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what commands work on, with a bundle of its run."""
    place = tmp_path_factory.mktemp("refused") / "here"
    shutil.copytree(prepared, place)
    for arguments in (
        ["bundle", "runs/digits", "--out", "bundle"],
        ["replay", "bundle", "--out", "replayed.json"],
    ):
        code, _, err = warm.run(arguments, place, dict(ENV))
        assert code in (0, 1, 4), err
    return place


def clear(folder: Path) -> None:
    for path in folder.glob("new*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_the_list_is_whole(folder: Path):
    names = {each.name or each.callback.__name__.replace("_", "-") for each in app.registered_commands if each.callback}
    missing = names - {*commands(folder)}
    # The stages are `build` up to a point.
    assert missing <= {"teacher", "distill", "prune", "export", "quantize", "recover", "compile"}, missing


def cases() -> Iterator[tuple[str, str]]:
    """Every command with a disk and a stream that refuse, each kind in its turn, and with every other fault."""
    for number, command in enumerate(commands(ROOT)):
        for fault in (WRITING[number % 3], STREAMS[number // 3 % 3], "EMFILE", "MemoryError"):
            if fault not in WRITING or command not in ("doctor", "targets"):  # which write nothing, slowly
                yield command, fault
        if command in ("gate", "compare", "lint", "replay"):
            yield command, "stderr"


@pytest.mark.parametrize(("command", "fault"), [*cases()])
def test_refused(command: str, fault: str, script: Path, folder: Path):
    code, out, err = asked(script, folder, fault, command)
    assert "Traceback" not in out + err
    clear(folder)
    if fault in STREAMS:
        assert (code, len(err.splitlines())) == (3, 1), (out, err)
        return
    if code in (2, 3) and fault != "stderr":
        assert err.startswith("edgeproof: "), err
        assert len(err.splitlines()) == 1, err
        return
    # It never met the fault: then it answers what it always does.
    usual, _, _ = asked(script, folder, "none", command)
    clear(folder)
    assert code == usual, (code, err)
