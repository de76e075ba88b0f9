"""`prune` and `recover` as stages of a recipe, and `recover` on an ONNX file that came without any torch code."""

from __future__ import annotations

import csv
import json
import shutil
import time
from pathlib import Path

import onnx
import pytest

from tests import warm
from tests.e2e.conftest import ENV, NO_CURVE, QUICK, ROOT, edgeproof, small_build, with_checkpoint
from tests.e2e.vendor import as_vendors_ship

STUDENT = ROOT / "tests" / "data" / "student.safetensors"
ON_DIGITS = ("--dataset", "digits", "--eps", "0.1")

pytestmark = pytest.mark.slow


def test_the_ledger_shows_every_step(tmp_path: Path):
    prune = "prune={ratio: 0.5, round_to: 4, train: {epochs: 1}}"
    settings = [prune, "quantize.weight_bits=4", "recover={epochs: 1}", "verify.samples=12", *QUICK, NO_CURVE]
    overrides = [part for setting in settings for part in ("--set", setting)]
    done = edgeproof(*small_build(tmp_path / "run", *with_checkpoint(STUDENT, "teacher.model=cnn8_small"), *overrides))
    assert done.code in (0, 4), done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [(each["name"], each["kind"]) for each in report["subjects"]] == [
        ("teacher", "torch"),
        ("student", "torch"),
        ("pruned", "torch"),
        ("onnxruntime-ptq", "step"),
        ("onnxruntime", "engine"),
    ]
    student, pruned, before, after = report["subjects"][1:]
    assert pruned["parameters"] < 0.5 * student["parameters"]
    assert before["precision"] == after["precision"] == "w4a8"
    assert before["sha256"] != after["sha256"]
    assert (tmp_path / "run" / before["path"]).is_file()
    assert (tmp_path / "run" / after["path"]).is_file()
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "run" / after["path"]).metadata_props}
    assert properties["edgeproof.recovered"] == "adaad"
    assert properties["edgeproof.recipe_digest"] == report["recipe_digest"]
    assert json.loads((tmp_path / "run" / "recover" / "u8s8" / "recover.json").read_text())["largest_difference"] < 1e-5


def test_a_file_without_torch_code(float_onnx: Path, tmp_path: Path):
    """A float file, with its own float form as the teacher; then the quantized file that came of it."""
    options = (*ON_DIGITS, "--set", "recover.epochs=1", "--json")
    first = edgeproof("recover", float_onnx, "--teacher", float_onnx, "--out", tmp_path / "one", *options)
    assert first.code == 0, first.err
    result = json.loads(first.out)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "metrics.csv",
        "model.onnx",
        "recover.json",
        "training.json",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one"]
    assert result["pgd_after"] >= result["pgd_before"]
    shutil.copy(result["model"], tmp_path / "given.onnx")
    teacher = f"cnn8_small={STUDENT}"
    second = edgeproof("recover", tmp_path / "given.onnx", "--teacher", teacher, "--out", tmp_path / "two", *options)
    assert second.code == 0, second.err
    given, found = onnx.load(tmp_path / "given.onnx").graph, onnx.load(tmp_path / "two" / "model.onnx").graph
    assert list(given.node) == list(found.node)


def test_a_vendors_file_with_its_adapter_in_the_file_that_is_written(float_onnx: Path, tmp_path: Path):
    vendor = as_vendors_ship(float_onnx, tmp_path / "vendor.onnx")
    options = ["--teacher", float_onnx, *ON_DIGITS, "--normalize", "half", "--set", "recover.epochs=1"]
    done = edgeproof("recover", vendor, *options, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    entry = onnx.load(tmp_path / "out" / "model.onnx").graph.input[0]
    assert [dim.dim_value for dim in entry.type.tensor_type.shape.dim][1:] == [1, 8, 8]
    # Fed as it wants, it is as good as the file that it was made from.
    assert json.loads(done.out)["clean_before"] > 0.9


def test_what_a_killed_run_of_other_settings_left_is_not_used(float_onnx: Path, tmp_path: Path):
    arguments = ["recover", float_onnx, "--teacher", float_onnx, *ON_DIGITS, "--set", "recover.epochs=2"]
    others = [*arguments, "--set", "recover.learning_rate=0.9", "--set", "recover.epochs=40", "--out", tmp_path / "one"]
    process = warm.Process([*map(str, others)], env=ENV)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".one.partial-*/resume.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    (left,) = tmp_path.glob(".one.partial-*")
    for out in ("one", "two"):
        done = edgeproof(*arguments, "--out", tmp_path / out)
        assert done.code == 0, done.err
        assert (f"{left}: left by a killed run" in done.err) == (out == "one")
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    assert left.is_dir()  # it may be asked for again


def losses(folder: Path) -> list[str]:
    with (folder / "metrics.csv").open() as file:
        return [row["loss"] for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.onnx", *ON_DIGITS], "needs --teacher, --dataset and --eps"),
        (["model.onnx", "--teacher", "none.pt", *ON_DIGITS], "none.pt: no such file"),
        (["absent.onnx", "--teacher", "model.onnx", *ON_DIGITS], "absent.onnx: no such file"),
        (["model.onnx", "--teacher", "model.onnx", *ON_DIGITS, "--set", "recover.epoch=1"], "did you mean 'epochs'"),
        (["model.onnx", "--teacher", "model.onnx", *ON_DIGITS, "--set", "quantize.precision=fp32"], "trains int8"),
        (["model.onnx", "--teacher", "model.onnx", *ON_DIGITS, "--set", "distill.epochs=1"], "recover.key=value"),
        (["digits.yaml"], "has no section `recover`"),
        (["digits.yaml", "--eps", "0.1"], "are for an ONNX file"),
    ],
)
def test_mistakes(arguments: list[str], message: str, float_onnx: Path, tmp_path: Path):
    shutil.copy(float_onnx, tmp_path / "model.onnx")
    shutil.copy(ROOT / "examples" / "digits.yaml", tmp_path)
    done = edgeproof("recover", *arguments, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
