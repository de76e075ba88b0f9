"""A byte flipped in any file of a run or a bundle: refused by name by every command that reads it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgeproof.core.errors import EdgeproofError, UsageError
from edgeproof.core.model_file import sha256_of
from edgeproof.pipeline.bundle.contents import read_contents
from edgeproof.pipeline.bundle.device.bring_back import bring_back
from edgeproof.pipeline.bundle.device.replay_bundle import replay_bundle
from edgeproof.pipeline.bundle.device.replay_pack import replay
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.bundle.verify_bundle import verify_bundle
from edgeproof.pipeline.card.make_card import model_card
from edgeproof.pipeline.commands.compare import compare
from edgeproof.pipeline.commands.gate import gate
from edgeproof.pipeline.evidence.make_evidence import make_evidence
from edgeproof.pipeline.results.finished_run import finished_report, unaltered_report
from edgeproof.pipeline.store.artifact import Stage
from edgeproof.pipeline.store.manifest import finished_files
from edgeproof.pipeline.store.place import STORE
from edgeproof.pipeline.store.store import Store

from tests.e2e.conftest import run as built
from tests.fuzz.test_fuzz import SEED
from tests.pipeline.bundle.conftest import attacks, finished

__all__ = ["attacks", "built", "finished"]

pytestmark = pytest.mark.slow


def flipped(path: Path) -> Iterator[int]:
    """The first, the middle and the last byte of a file, one after the other; in the end it is as it was."""
    content = path.read_bytes()
    try:
        for place in sorted({0, len(content) // 2, len(content) - 1}):
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(changed)
            yield place
    finally:
        path.write_bytes(content)


def told(command: Callable[[], object]) -> str:
    """In what words a command refuses; empty where it does not."""
    try:
        command()
    except EdgeproofError as error:
        return str(error)
    return ""


def commands_on(run: Path, folder: Path) -> dict[str, Callable[[], object]]:
    """Every command that reads a run, and a report of a device that replayed it; what they write goes into `folder`."""
    make_bundle(run, plain=True, out=folder / "bundle")
    device = folder / "device-report.json"
    replay_bundle(folder / "bundle", out=device, device="box")
    return {
        "gate": lambda: gate(run),
        "report": lambda: finished_report(run),
        "card": lambda: model_card(run),
        "compare": lambda: compare(run, run),
        "bundle": lambda: make_bundle(run, plain=True, out=folder / "made.tar"),
        "evidence": lambda: make_evidence(run, out=folder / "evidence"),
        "device": lambda: bring_back(run, device),
    }


def files_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def test_in_a_run(finished: Path, tmp_path: Path):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    commands, tried = commands_on(run, tmp_path), 0
    assert run / "manifest.json" in files_in(run)
    for path in files_in(run):
        for place in flipped(path):
            for name, command in commands.items():
                assert str(path) in told(command), (path, place, name)
                tried += 1
            assert finished_files(run, "asked") is None, "a build makes it again"
    assert gate(run).report.exit_code == 0
    print(f"\nflips in a run: {tried} refused, by {len(commands)} commands", end="")


def test_in_a_built_run(built: Path, tmp_path: Path):
    """One byte of each artifact, drawn by its name."""
    run = Path(shutil.copytree(built, tmp_path / "run", ignore=shutil.ignore_patterns(STORE)))
    commands, tried = commands_on(run, tmp_path), 0
    for path in files_in(run):
        rng = random.Random(f"{SEED}/{path.relative_to(run)}")
        content = path.read_bytes()
        changed = bytearray(content)
        if not changed:
            continue
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        for name, command in commands.items():
            words = told(command)
            # Of the manifest, white space may be other white space: it says what it said.
            assert str(path) in words or (not words and means_the_same(content, changed, path)), (path, name)
            tried += bool(words)
        path.write_bytes(content)
    assert gate(run).report.exit_code == 0
    print(f"\nflips in a built run: {tried} refused, by {len(commands)} commands", end="")


def means_the_same(content: bytes, changed: bytes, path: Path) -> bool:
    return path.name == "manifest.json" and json.loads(content) == json.loads(changed)


def test_in_a_manifest_and_what_a_bundle_lists(finished: Path, tmp_path: Path):
    """Every bit of a place in ten: what is not refused says the same."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    make_bundle(run, plain=True, out=tmp_path / "bundle")
    readers: dict[Path, Callable[[], object]] = {
        run / "manifest.json": lambda: unaltered_report(run),
        tmp_path / "bundle" / "bundle.json": lambda: read_contents(tmp_path / "bundle" / "bundle.json"),
    }
    for path, read in readers.items():
        content, refused = path.read_bytes(), 0
        for place in range(SEED % 10, len(content), 10):
            for bit in range(8):
                changed = bytearray(content)
                changed[place] ^= 1 << bit
                path.write_bytes(changed)
                words = told(read)
                assert str(path) in words or (not words and json.loads(changed) == json.loads(content)), (place, bit)
                refused += bool(words)
        path.write_bytes(content)
        assert told(read) == ""
        print(f"\nflips in {path.name}: {refused} refused", end="")


def test_in_a_bundle(finished: Path, tmp_path: Path):
    make_bundle(finished, plain=True, out=tmp_path / "bundle")
    bundle, tried = tmp_path / "bundle", 0
    for path in files_in(bundle):
        for _ in flipped(path):
            assert str(path) in (told(lambda: verify_bundle(bundle)) or "\n".join(verify_bundle(bundle)["problems"]))
            with pytest.raises(UsageError, match=str(path)):
                replay_bundle(bundle, out=tmp_path / "report.json")
            tried += 2
    assert verify_bundle(bundle)["exit_code"] == 0
    print(f"\nflips in a bundle: {tried} refused", end="")


def test_in_a_pack_and_its_manifest(finished: Path, tmp_path: Path):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    pack, engine = run / "adversarial" / "onnxruntime.npz", run / "engines" / "onnxruntime" / "model.onnx"
    whole = replay(pack, engine)
    for _ in flipped(pack):
        with pytest.raises(UsageError, match=str(pack)):
            replay(pack, engine)
    for _ in flipped(run / "adversarial" / "manifest.json"):
        # A byte may be of what the replay does not rest on.
        assert "manifest.json" in (words := told(lambda: replay(pack, engine))) or (
            not words and replay(pack, engine) == whole
        )
    for _ in flipped(engine):  # anybody's engine may be asked, and is named by its digest
        assert str(engine) in (words := told(lambda: replay(pack, engine))) or (
            not words and replay(pack, engine)["sha256"] == sha256_of(engine) != whole["sha256"]
        )


def test_a_stage_of_the_store_is_made_again(tmp_path: Path):
    made: list[Path] = []

    def work(folder: Path) -> None:
        made.append(folder)
        (folder / "weights").write_bytes(b"weights")
        (folder / "log").write_bytes(b"log")

    said: list[str] = []
    stage = Stage("stage", {}, {}, code=[], packages=[])
    folder = Store(tmp_path / "run").make(stage, work).folder
    for path in files_in(folder):
        content = path.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(changed)
            before = len(made)
            found = Store(tmp_path / "run", said.append).make(stage, work)
            assert found.path("weights").read_bytes() == b"weights"
            assert found.path("log").read_bytes() == b"log"
            # A record may change in what nobody relies on: its seconds, its indentation.
            assert len(made) == before + 1 or path.name == "stage.json"
            content = path.read_bytes()
    assert all("altered since it was made; making it again" in line for line in said)
    assert json.loads((folder / "stage.json").read_text())["stage"] == "stage"
