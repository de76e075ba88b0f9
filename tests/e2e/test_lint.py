"""`edgeproof lint`: what it prints, its exit codes, and what bad files get."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.commands.lint import lint_file
from edgeproof.targets.schemes import SCHEMES
from onnx.external_data_helper import convert_model_to_external_data

from tests.e2e.conftest import edgeproof
from tests.e2e.test_commands import one_line


def test_a_clean_file_passes(int8_onnx: Path):
    done = edgeproof("lint", int8_onnx)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{int8_onnx} for onnxruntime (scheme u8s8): 0 errors, 0 warnings\n"


def test_warnings_alone_pass(float_onnx: Path):
    done = edgeproof("lint", float_onnx, "--target", "tensorrt")
    assert done.code == 0
    assert "float-model" in done.out
    assert done.out.splitlines()[-1].endswith("(scheme s8s8): 0 errors, 1 warning")


def test_an_error_fails_and_is_printed_once_with_its_nodes(int8_onnx: Path):
    done = edgeproof("lint", int8_onnx, "--target", "tensorrt")
    assert (done.code, done.err) == (1, "")
    lines = done.out.splitlines()
    assert lines[-1].endswith("14 errors, 3 warnings")
    assert sum("activation-type" in line for line in lines) == 1
    assert done.out.index("activation-type") < done.out.index("split-activation"), "errors come first"
    assert "and 4 more" in " ".join(done.out.split()), "of nine nodes, five are named"


@pytest.mark.parametrize(("target", "code"), [("onnxruntime", 0), ("tensorrt", 1)])
def test_one_json_document(int8_onnx: Path, target: str, code: int):
    done = edgeproof("lint", int8_onnx, "--target", target, "--json")
    document = json.loads(done.out)
    assert done.code == document["exit_code"] == code
    assert list(document) == ["model", "target", "scheme", "errors", "warnings", "exit_code", "findings"]
    assert document["errors"] + document["warnings"] == len(document["findings"])
    for finding in document["findings"]:
        assert list(finding) == ["rule", "severity", "node", "message"]
    assert document == lint_file(int8_onnx, target)


def test_a_file_that_wants_other_pixels_is_checked_with_its_adapter(int8_onnx: Path):
    """As `verify` would run it; what contradicts the file is refused by the option's name."""
    plain, adapted = (lint_file(int8_onnx, "tensorrt", adapter) for adapter in (None, {"normalize": "half"}))
    assert plain["errors"] == adapted["errors"] == 14
    done = edgeproof("lint", int8_onnx, "--normalize", "half")
    assert (done.code, done.err) == (0, "")
    assert "0 errors" in done.out
    done = edgeproof("lint", int8_onnx, "--input-dtype", "uint8")
    one_line(done, 2, "--input-dtype uint8: input 'images' of")


def test_names_with_brackets_are_printed_as_they_are(tmp_path: Path, int8_onnx: Path):
    model = onnx.load(int8_onnx)
    next(node for node in model.graph.node if node.name == "logits_QuantizeLinear").name = "[red]a[/]"
    onnx.save(model, tmp_path / "model.onnx")
    assert "[red]a[/]" in edgeproof("lint", tmp_path / "model.onnx", "--target", "tensorrt").out


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "pickle", "half", "headless"])
def test_files_that_are_none(tmp_path: Path, int8_onnx: Path, kind: str):
    path, words = tmp_path / "model.onnx", "not a valid ONNX model, or truncated"
    content = int8_onnx.read_bytes()
    if kind == "missing":
        words = "no such file"
    elif kind == "folder":
        path.mkdir()
        words = "is a folder; a file is needed"
    elif kind == "headless":  # whole fields, but no graph among them
        path.write_bytes(onnx.ModelProto(ir_version=10, producer_name="nobody").SerializeToString())
    else:
        contents = {
            "empty": b"",
            "text": b"name: digits\n",
            "pickle": b"\x80\x04}.",
            "half": content[: len(content) // 2],
        }
        path.write_bytes(contents[kind])
    one_line(edgeproof("lint", path), 2, f"{path}: ", words)


@pytest.mark.parametrize(
    ("name", "words"),
    [("tensort", "did you mean 'tensorrt'?"), ("onnxruntim", "did you mean 'onnxruntime'?"), ("zzz", "known: arm,")],
)
def test_unknown_targets(int8_onnx: Path, name: str, words: str):
    one_line(edgeproof("lint", int8_onnx, "--target", name), 2, f"--target: unknown target {name!r}", words)


@pytest.fixture
def beside(tmp_path: Path, float_onnx: Path) -> Path:
    """A model whose weights lie in a file beside it."""
    model = onnx.load(float_onnx)
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    (tmp_path / "model").mkdir()
    onnx.save(model, tmp_path / "model" / "model.onnx")
    return tmp_path / "model" / "model.onnx"


def test_external_data_beside_the_model_are_read(beside: Path):
    findings = lint_file(beside)["findings"]
    assert [finding["rule"] for finding in findings] == ["float-model"]
    weights = beside.with_name("weights.bin")
    weights.write_bytes(b"\xff" * weights.stat().st_size)  # NaN throughout
    assert {finding["rule"] for finding in lint_file(beside)["findings"]} == {"float-model", "not-a-number"}


def test_external_data_elsewhere_are_refused_and_not_opened(beside: Path):
    model = onnx.load(beside, load_external_data=False)
    fifo = beside.parent.parent / "secret"
    os.mkfifo(fifo)  # whoever opens it waits for ever
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret"
    beside.write_bytes(model.SerializeToString())
    done = edgeproof("lint", beside, "--json")
    document = json.loads(done.out)
    assert done.code == 1
    (finding,) = [finding for finding in document["findings"] if finding["severity"] == "error"]
    assert (finding["rule"], finding["node"]) == ("external-data", model.graph.initializer[0].name)
    assert "'../secret'" in finding["message"]


@pytest.mark.parametrize("kind", ["missing", "short", "link"])
def test_external_data_that_cannot_be_read(beside: Path, kind: str):
    weights = beside.with_name("weights.bin")
    content = weights.read_bytes()
    weights.unlink()
    if kind == "short":
        weights.write_bytes(content[:-1])
    if kind == "link":
        (beside.parent.parent / "elsewhere").write_bytes(content)
        weights.symlink_to(beside.parent.parent / "elsewhere")
    one_line(edgeproof("lint", beside), 2, "external data cannot be read")


def test_damaged_files_never_end_in_a_traceback(tmp_path: Path, int8_onnx: Path):
    content, rng = int8_onnx.read_bytes(), random.Random(0)
    path, judged = tmp_path / "model.onnx", 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 3, 10])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        try:
            judged += lint_file(path, rng.choice(list(SCHEMES)))["exit_code"] in (0, 1)
        except UsageError:
            continue
    assert judged > 30, "too few were read at all for this to mean much"


def test_the_command_loads_neither_torch_nor_a_runtime(int8_onnx: Path):
    code = (
        "import sys; from edgeproof.pipeline.cli.main import app\n"
        f"try: app(['lint', {str(int8_onnx)!r}])\n"
        "except SystemExit as end: print(end.code, {m for m in ('torch', 'onnxruntime') if m in sys.modules}, "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "0 set()"
