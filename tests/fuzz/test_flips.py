"""A byte flipped in any file of a run or a bundle: refused by name by every command that reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgeproof.core.errors import EdgeproofError, UsageError
from edgeproof.core.model_file import sha256_of
from edgeproof.pipeline.bundle.device.bring_back import bring_back
from edgeproof.pipeline.bundle.device.replay_bundle import replay_bundle
from edgeproof.pipeline.bundle.device.replay_pack import replay
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.bundle.verify_bundle import verify_bundle
from edgeproof.pipeline.card.make_card import model_card
from edgeproof.pipeline.commands.compare import compare
from edgeproof.pipeline.commands.gate import gate
from edgeproof.pipeline.results.finished_run import finished_report
from edgeproof.pipeline.store.artifact import Stage
from edgeproof.pipeline.store.store import Store

from tests.pipeline.bundle.conftest import attacks, finished

__all__ = ["attacks", "finished"]

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


def files_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def test_in_a_run(finished: Path, tmp_path: Path):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    packs = run / "adversarial" / "manifest.json"
    listed = json.loads((run / "manifest.json").read_text())
    listed["artifacts"].append({"path": "adversarial/manifest.json", "sha256": sha256_of(packs)})  # as a build does
    (run / "manifest.json").write_text(json.dumps(listed))
    make_bundle(run, plain=True, out=tmp_path / "bundle")
    device = tmp_path / "device-report.json"
    replay_bundle(tmp_path / "bundle", out=device, device="box")
    commands: dict[str, Callable[[], object]] = {
        "gate": lambda: gate(run),
        "report": lambda: finished_report(run),
        "card": lambda: model_card(run),
        "compare": lambda: compare(run, run),
        "bundle": lambda: make_bundle(run, plain=True, out=tmp_path / "made.tar"),
        "device": lambda: bring_back(run, device),
    }
    listing, tried = run / "manifest.json", 0
    for path in files_in(run):
        if path == listing:
            continue
        for place in flipped(path):
            for name, command in commands.items():
                assert str(path) in told(command), (path, place, name)
                tried += 1
    assert gate(run).report.exit_code == 0
    print(f"\nflips in a run: {tried} refused, by {len(commands)} commands", end="")


def test_in_a_bundle(finished: Path, tmp_path: Path):
    make_bundle(finished, plain=True, out=tmp_path / "bundle")
    bundle, tried = tmp_path / "bundle", 0
    for path in files_in(bundle):
        for _ in flipped(path):
            # What `bundle.json` says of itself, no bundle can tell; that it changed, its digest does.
            if path.name == "bundle.json":
                continue
            (problem,) = verify_bundle(bundle)["problems"]
            assert str(path) in problem
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
