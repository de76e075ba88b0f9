"""A run carried away as a bundle, replayed, and brought back."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeproof.core.errors import BackendMissing, StageError, UsageError
from edgeproof.pipeline.bundle.device.bring_back import bring_back
from edgeproof.pipeline.bundle.device.replay_bundle import replay_bundle
from edgeproof.pipeline.bundle.make_bundle import make_bundle
from edgeproof.pipeline.bundle.verify_bundle import verify_bundle
from edgeproof.pipeline.gates import Condition
from edgeproof.pipeline.results.report import Report, regate
from edgeproof.pipeline.store.manifest import finished_files, manifest_text
from edgeproof.targets.base import Availability, EngineFile, Target, targets
from edgeproof.targets.schemes import SCHEMES

from tests.pipeline.bundle.small_run import SAMPLES, Attacks, bits_of, list_artifacts, right_by, weakened, write_run


def replayed(bundle: Path, tmp_path: Path, *rest: Any, **more: Any) -> dict[str, Any]:
    out = tmp_path / "device-report.json"
    result = replay_bundle(bundle, *rest, **{"out": out, "keep": tmp_path / "kept", "device": "box", **more})
    assert json.loads(out.read_text()) == result
    return result


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a"])
def test_the_same_run_gives_the_same_bytes_and_the_same_replay(finished: Path, tmp_path: Path, name: str):
    again = Path(shutil.copytree(finished, tmp_path / "elsewhere"))
    for path in again.rglob("*"):
        path.touch()
    first, second = tmp_path / "1" / name, tmp_path / "2" / name
    made = [make_bundle(finished, plain=True, out=first), make_bundle(again, plain=True, out=second)]
    assert made[0]["sha256"] == made[1]["sha256"]
    if first.is_file():
        assert first.read_bytes() == second.read_bytes()
    else:
        files = {path.relative_to(first): path.read_bytes() for path in first.rglob("*") if path.is_file()}
        assert files == {path.relative_to(second): path.read_bytes() for path in second.rglob("*") if path.is_file()}
        assert len(files) == made[0]["files"]
    found = replayed(first, tmp_path)
    assert found["bundle"]["sha256"] == made[0]["sha256"]
    assert (found["lost"], found["gained"], found["agreement"], found["outcome"]) == ([], [], 1.0, "pass")


def test_a_replay_finds_the_runs_bits_one_by_one(finished: Path, tmp_path: Path, int8_onnx: Path, attacks: Attacks):
    make_bundle(finished, plain=True, out=tmp_path / "a.tar")
    found = replayed(tmp_path / "a.tar", tmp_path)
    clean, robust, rounded = bits_of(right_by(int8_onnx), attacks)
    for name, bits in (("clean", clean), ("robust", robust), ("robust_8bit", rounded)):
        assert found["bits"][name] == "".join(map(str, bits.astype(int)))
    assert found["robust_accuracy"] == found["run"]["robust_accuracy"] == robust.mean()
    assert found["robust_accuracy_8bit"] == rounded.mean() > robust.mean()
    assert found["samples"] == SAMPLES
    assert found["latency_ms"]["p50"] > 0
    assert found["engine"]["origin"] == "bundle"


def test_an_engine_that_lost_samples_fails_on_the_device_and_then_fails_the_run(
    run: Path, tmp_path: Path, int8_onnx: Path, attacks: Attacks
):
    make_bundle(run, plain=True, out=tmp_path / "a.tar")
    worse = weakened(int8_onnx, tmp_path / "worse.onnx")
    found = replayed(tmp_path / "a.tar", tmp_path, worse)
    _, before, _ = bits_of(right_by(int8_onnx), attacks)
    _, after, _ = bits_of(right_by(worse), attacks)
    lost = attacks.split.index[before & ~after]
    assert len(lost) > found["allowed"] == 2
    assert found["lost"] == lost.tolist()
    assert (found["exit_code"], found["engine"]["origin"]) == (1, "given")
    assert found["robust_accuracy"] == (before & after).mean(), (
        "what only the device withstood was never attacked there"
    )

    request = finished_files(run, "asked")
    assert request is not None
    report = bring_back(run, tmp_path / "device-report.json")
    assert (report.data["verdict"], report.exit_code) == ("fail", 1)
    assert report.data["reasons"][0].startswith(
        f"onnxruntime on box: lost {len(lost)} of {before.sum()} robust samples"
    )
    assert Report.load(run / "report.json").data["devices"] == report.data["devices"]
    assert "lost" in "".join((run / "summary.md").read_text().splitlines()[:4])
    kept = finished_files(run, "asked")
    assert kept is not None, "the run is still finished, and the next build does not undo it"
    assert set(kept) - set(request) == {f"devices/{report.data['devices'][0]['report_sha256'][:16]}.json"}
    # No other gate gets round it.
    assert regate(report, [Condition.parse_line("clean_accuracy >= 0.1")]).exit_code == 1

    # Mended: the next report of the same device takes its place.
    assert replayed(tmp_path / "a.tar", tmp_path)["exit_code"] == 0
    report = bring_back(run, tmp_path / "device-report.json")
    assert (report.data["verdict"], report.exit_code, len(report.data["devices"])) == ("pass", 0, 1)
    # Another device stands beside it, whatever it is called.
    replayed(tmp_path / "a.tar", tmp_path, device="the other")
    report = bring_back(run, tmp_path / "device-report.json")
    assert [device["device"] for device in report.data["devices"]] == ["box", "the other"]


def test_a_few_lost_samples_are_allowed_unless_a_gate_is_missed(run: Path, tmp_path: Path, attacks: Attacks):
    report = json.loads((run / "report.json").read_text())
    exact = report["subjects"][-1]["robust_accuracy"]
    make_bundle(run, plain=True, out=tmp_path / "a.tar")
    found = replayed(tmp_path / "a.tar", tmp_path)
    one = found["bits"]["robust"].index("1")
    found["bits"]["robust"] = found["bits"]["robust"][:one] + "0" + found["bits"]["robust"][one + 1 :]
    path = tmp_path / "device-report.json"

    def as_the_device_would_say(gates: list[dict[str, Any]]) -> dict[str, Any]:
        from edgeproof.pipeline.bundle.device.outcome import outcome_of
        from edgeproof.pipeline.bundle.device.report import read_device_report
        from edgeproof.pipeline.bundle.run_bits import run_bits

        path.write_text(json.dumps(found))
        _, bits = read_device_report(path)
        run_s = run_bits(run / "verification/onnxruntime.npz")
        return outcome_of(bits, run_s, gates, attacked=True, sequential=False)

    allowed = as_the_device_would_say([{"name": "robust_accuracy", "limit": ">= 0.2"}])
    assert (allowed["outcome"], len(allowed["lost"])) == ("pass", 1)
    missed = as_the_device_would_say([{"name": "robust_accuracy", "limit": f">= {exact}"}])
    assert (missed["outcome"], len(missed["lost"])) == ("fail", 1)
    assert "misses" in missed["reasons"][0]
    unknown = as_the_device_would_say([{"name": "retention", "limit": ">= 1"}, {"name": "robust_accuracy"}])
    assert unknown["outcome"] == "pass", "gates on what a device does not know stay the run's"


def test_an_engine_that_was_built_and_not_attacked_is_never_passed(run: Path, tmp_path: Path):
    """As a target that builds here and does not run: its bits are the student's."""
    shutil.copytree(run / "engines/onnxruntime", run / "engines/openvino")
    about = {"target": "openvino", "file": "model.onnx", "options": {}}
    (run / "engines/openvino/engine.json").write_text(json.dumps(about))
    list_artifacts(run)
    make_bundle(run, plain=True, engines=["openvino"], out=tmp_path / "a.tar")
    pytest.importorskip("openvino")
    found = replayed(tmp_path / "a.tar", tmp_path)
    assert (found["outcome"], found["exit_code"], found["lost"]) == ("inconclusive", 4, [])
    assert "did not attack this engine" in found["reasons"][0]


def test_the_bundles_graph_on_another_runtime(finished: Path, tmp_path: Path):
    pytest.importorskip("openvino")
    make_bundle(finished, plain=True, out=tmp_path / "a.tar")
    found = replayed(tmp_path / "a.tar", tmp_path, target="openvino", options=("hint=throughput",))
    assert found["engine"]["target"] == "openvino"
    assert found["engine"]["options"] == {"hint": "throughput"}
    assert found["outcome"] == "pass"
    assert "openvino" in found["versions"]
    assert len(found["lost"]) <= found["allowed"]


class Compiled(Target):
    """A runtime whose engines are built on the device."""

    name, scheme = "compiled", SCHEMES["onnxruntime"]
    fails: Exception | None = None

    def available(self) -> Availability:
        return Availability(True, versions={"compiled": "1"})

    def build(self, onnx_path: Path, out_dir: Path, *, threads: int = 1, options: Any = None) -> EngineFile:
        (out_dir / "model.bin").write_bytes(onnx_path.read_bytes())
        if self.fails is not None:
            raise self.fails
        return EngineFile.of(self.name, out_dir / "model.bin", options)

    def load(self, engine: EngineFile, *, threads: int = 1) -> Any:
        engine.check()
        return targets["onnxruntime"].load(EngineFile.of("onnxruntime", engine.path))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Compiled:
    targets.names()
    target = Compiled()
    monkeypatch.setitem(targets._entries, "compiled", target)
    return target


def test_an_engine_is_built_on_the_device_and_kept(finished: Path, tmp_path: Path, compiled: Compiled):
    make_bundle(finished, plain=True, out=tmp_path / "a.tar")
    found = replayed(tmp_path / "a.tar", tmp_path, target="compiled")
    kept = tmp_path / "kept" / "onnxruntime" / "compiled" / "model.bin"
    assert (found["engine"]["origin"], found["engine"]["kept"], found["outcome"]) == ("built", str(kept), "pass")
    assert kept.is_file()
    with pytest.raises(UsageError, match="there is an engine already"):
        replayed(tmp_path / "a.tar", tmp_path, target="compiled")
    given = replayed(tmp_path / "a.tar", tmp_path, kept, target="compiled")
    assert given["engine"]["sha256"] == found["engine"]["sha256"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(StageError("refused"), StageError), (ModuleNotFoundError("No module", name="onnx"), BackendMissing)],
)
def test_a_failed_build_leaves_nothing(
    finished: Path, tmp_path: Path, compiled: Compiled, error: Exception, kind: type[Exception]
):
    make_bundle(finished, plain=True, out=tmp_path / "a.tar")
    compiled.fails = error
    with pytest.raises(kind, match=r"refused|builds with onnx"):
        replayed(tmp_path / "a.tar", tmp_path, target="compiled")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a.tar"]


def test_an_earlier_bundle_is_replaced_and_nothing_else_is(finished: Path, tmp_path: Path):
    for name in ("a.tar", "a"):
        make_bundle(finished, plain=True, out=tmp_path / name)
        make_bundle(finished, plain=True, out=tmp_path / name)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.png").write_text("")
    (tmp_path / "file").write_text("")
    for name in ("photos", "file", "a.tar.gz", "g.rar", "a.TAR"):
        with pytest.raises(UsageError, match="--out"):
            make_bundle(finished, plain=True, out=tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.tar", "file", "photos"]
    assert [path.name for path in photos.iterdir()] == ["one.png"]


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a"])
def test_a_bundle_of_another_engine_is_not_replaced_unasked(
    finished: Path, tmp_path: Path, float_onnx: Path, attacks: Attacks, name: str
):
    write_run(tmp_path / "other", float_onnx, attacks)
    out = tmp_path / name
    first = make_bundle(finished, plain=True, out=out)["sha256"]
    with pytest.raises(UsageError, match=r"--out .*: holds the result of another model; .* replace it with --force"):
        make_bundle(tmp_path / "other", plain=True, out=out)
    assert verify_bundle(out)["sha256"] == first
    second = make_bundle(tmp_path / "other", plain=True, out=out, force=True)["sha256"]
    assert verify_bundle(out)["sha256"] == second != first


def test_what_is_no_bundle_is_not_replaced_unasked(finished: Path, tmp_path: Path):
    out = tmp_path / "a.tar"
    out.write_text("a thesis")
    with pytest.raises(UsageError, match=r"--out .*a\.tar: holds no bundle; .* replace it with --force"):
        make_bundle(finished, plain=True, out=out)
    assert out.read_text() == "a thesis"
    make_bundle(finished, plain=True, out=out, force=True)
    assert verify_bundle(out)["exit_code"] == 0


def test_the_folder_that_a_link_leads_to_is_replaced(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    make_bundle(finished, plain=True, out=tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "bundle.json").is_file()
    monkeypatch.chdir(tmp_path / "there")
    with pytest.raises(
        UsageError, match=r"^--out \.: the command runs there, and the folder is replaced; name a new one$"
    ):
        make_bundle(finished, plain=True, out=".")


@pytest.mark.parametrize("name", ["engines/onnxruntime/model.onnx", "adversarial/student.npz", "report.json"])
def test_a_run_that_was_altered_is_not_bundled(run: Path, tmp_path: Path, name: str):
    with (run / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(UsageError, match=f"{name}: altered since the run"):
        make_bundle(run, plain=True, out=tmp_path / "a.tar")
    (run / name).unlink()
    with pytest.raises(UsageError, match=rf"{Path(name).name}: (missing|no such report)"):
        make_bundle(run, plain=True, out=tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("adversarial/manifest.json", lambda found: found.update(dataset={"name": []}), "manifest.json"),
        ("manifest.json", lambda found: found["artifacts"][2].update(packages={"onnxruntime": 2}), "no manifest"),
        ("manifest.json", lambda found: found["artifacts"][2].update(packages=None), "no manifest"),
        ("report.json", lambda found: found["subjects"][0].update(robust_accuracy=None), "robust_accuracy"),
    ],
)
def test_what_is_of_another_kind_is_refused(name: str, change: Callable[[Any], object], words: str, run: Path):
    found = json.loads((run / name).read_text())
    change(found)
    (run / name).write_text(manifest_text(found) if name == "manifest.json" else json.dumps(found))
    if name != "manifest.json":
        list_artifacts(run)
    with pytest.raises(UsageError, match=words):
        make_bundle(run, plain=True, out=run / "bundle")


def test_an_engine_that_the_run_does_not_have(finished: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="no engine 'onnxruntim'; did you mean 'onnxruntime'"):
        make_bundle(finished, plain=True, engines=["onnxruntim"], out=tmp_path / "a.tar")
    make_bundle(finished, plain=True, out=tmp_path / "a.tar")
    with pytest.raises(UsageError, match="no engine 'openvino'"):
        replayed(tmp_path / "a.tar", tmp_path, subject="openvino")
    with pytest.raises(UsageError, match="unknown target 'cuda'"):
        replayed(tmp_path / "a.tar", tmp_path, target="cuda")


def test_figures_do_not_depend_on_the_order_of_packs(finished: Path, tmp_path: Path):
    """`np.logical_and.at` folds; a plain assignment would keep the last candidate's word."""
    make_bundle(finished, plain=True, out=tmp_path / "a.tar")
    found = replayed(tmp_path / "a.tar", tmp_path)
    assert 0 < found["robust_accuracy"] < found["clean_accuracy"]
    assert np.isclose(found["robust_accuracy"], found["bits"]["robust"].count("1") / SAMPLES)


def as_verified(run: Path, path: str, sha256: str, external: dict[str, str]) -> None:
    """Make a run of `verify` of it: the engine lies elsewhere, and the run has neither it nor its graph."""
    shutil.rmtree(run / "engines")
    shutil.rmtree(run / "quantize")
    report = json.loads((run / "report.json").read_text())
    report["subjects"] = [{**report["subjects"][-1], "path": path, "sha256": sha256}]
    (run / "report.json").write_text(json.dumps(report))
    packs = json.loads((run / "adversarial/manifest.json").read_text())
    packs["packs"][-1]["subject_sha256"] = sha256
    (run / "adversarial/manifest.json").write_text(json.dumps(packs))
    list_artifacts(run)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(manifest_text({**manifest, "external": external}))


def test_a_model_of_elsewhere_is_bundled_from_where_it_was_attacked(run: Path, tmp_path: Path, int8_onnx: Path):
    theirs = tmp_path / "theirs" / "net.onnx"
    theirs.parent.mkdir()
    shutil.copy(int8_onnx, theirs)
    digest = hashlib.sha256(theirs.read_bytes()).hexdigest()
    as_verified(run, "theirs/net.onnx", digest, {str(theirs): digest})
    make_bundle(run, plain=True, out=tmp_path / "a")
    assert (tmp_path / "a/engines/onnxruntime/graph/net.onnx").read_bytes() == theirs.read_bytes()
    assert replayed(tmp_path / "a", tmp_path)["outcome"] == "pass"
    assert bring_back(run, tmp_path / "device-report.json").exit_code == 0
    # It has moved on since: the verdict is not for what lies there now.
    theirs.write_bytes(weakened(int8_onnx, tmp_path / "worse.onnx").read_bytes())
    with pytest.raises(UsageError, match="gone or altered since"):
        make_bundle(run, plain=True, out=tmp_path / "b")


def test_a_python_function_is_not_bundled(run: Path, tmp_path: Path):
    as_verified(run, "package.module:function", "0" * 64, {})
    with pytest.raises(UsageError, match="a function or module, which cannot be bundled"):
        make_bundle(run, plain=True, out=tmp_path / "a")


def test_a_plan_stays_on_its_machine(run: Path, tmp_path: Path, int8_onnx: Path):
    """Built here for another machine: its ONNX file goes, the plan does not."""
    (run / "engines/tensorrt_rtx").mkdir()
    (run / "engines/tensorrt_rtx/model.plan").write_bytes(b"machine code")
    about = {"target": "tensorrt_rtx", "file": "model.plan", "options": {}}
    (run / "engines/tensorrt_rtx/engine.json").write_text(json.dumps(about))
    list_artifacts(run)
    make_bundle(run, plain=True, engines=["tensorrt_rtx"], out=tmp_path / "a")
    assert [path.name for path in (tmp_path / "a/engines").rglob("*") if path.is_file()] == ["model.onnx"]
    (engine,) = json.loads((tmp_path / "a/bundle.json").read_text())["engines"]
    assert (engine["engine"], engine["reference"]) == (None, "student")
    assert engine["graph_sha256"] == hashlib.sha256(int8_onnx.read_bytes()).hexdigest()
    if not targets["tensorrt_rtx"].available().available:
        with pytest.raises(BackendMissing, match="tensorrt_rtx"):
            replayed(tmp_path / "a", tmp_path)
