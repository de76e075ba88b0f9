"""A model in a process of its own: it crashes, hangs, raises, prints, and is there again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import EngineFailure, StageError, UsageError
from edgeproof.core.function import load_function
from edgeproof.targets.base import EngineFile, targets
from edgeproof.targets.onnxruntime.every_output import EveryOutput
from edgeproof.targets.process.own_process import OwnProcess, open_engine
from onnx import TensorProto, helper

MODULE = """
import os
import time
import numpy as np

CALLS = 0


def answer(images):
    global CALLS
    CALLS += 1
    print("a line on standard output")
    order = float(images.flat[0])
    if order == 1:
        os.abort()
    if order == 2:
        time.sleep(60)
    if order == 5:
        time.sleep(1)
    if order == 3:
        raise ValueError("no such luck")
    if order == 4:
        return lambda: "what no pipe carries"
    return np.array([CALLS, os.getpid()])
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "moody.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    found = OwnProcess(partial(load_function, "moody:answer", "model"), patience=2)
    yield found
    found.close()


def batch(order: int) -> np.ndarray:
    return np.full((1, 1, 1, 1), order, np.float32)


def test_it_keeps_its_state_in_another_process_while_all_goes_well(model: OwnProcess):
    answers = [model(batch(0)) for _ in range(3)]
    assert [calls for calls, _ in answers] == [1, 2, 3]
    assert len({process for _, process in answers} | {os.getpid()}) == 2


@pytest.mark.parametrize(
    ("order", "reason"),
    [(1, "signal 6"), (2, "within 2 seconds"), (3, "raised ValueError: no such luck"), (4, "raised")],
)
def test_what_goes_wrong_is_said_and_the_next_call_is_answered(model: OwnProcess, order: int, reason: str):
    model(batch(0))
    with pytest.raises(EngineFailure, match=reason):
        model(batch(order))
    calls, _ = model(batch(0))
    assert calls == (1 if order in (1, 2) else 3), "a process that died begins afresh, one that raised goes on"


def test_until_there_is_an_answer_there_may_be_less_time(model: OwnProcess):
    """An unknown model may never answer; a known one may take longer over more."""
    with closing(OwnProcess(partial(load_function, "moody:answer", "model"), patience=30, first=0.5)) as found:
        for _ in range(2):
            with pytest.raises(EngineFailure, match=r"hung: no answer within 0\.5 seconds"):
                found(batch(2))
        found(batch(0))
        found(batch(5))  # takes a second


def of_unknown_size(path: Path) -> Path:
    """A model whose one value is as large as its pixels say: `[n, n]` floats, where the first pixel is n."""
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Flatten", ["x"], ["flat"], axis=0),
        node("Slice", ["flat", "zero", "one", "one"], ["n"]),
        node("Cast", ["n"], ["whole"], to=TensorProto.INT64),
        node("Concat", ["row", "row"], ["shape"], axis=0),
        node("Squeeze", ["whole", "zero"], ["row"]),
        node("ConstantOfShape", ["shape"], ["large"]),
        node("ReduceMax", ["large"], ["y"], keepdims=1),
    ]
    nodes[3], nodes[4] = nodes[4], nodes[3]
    numbers = [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in (("zero", 0), ("one", 1))]
    images, answer = info("x", TensorProto.FLOAT, ["N", 1, 1, 1]), info("y", TensorProto.FLOAT, [1, 1])
    graph = helper.make_graph(nodes, "g", [images], [answer], numbers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_value_whose_size_only_running_tells_takes_no_more_than_it_may(tmp_path: Path):
    content = of_unknown_size(tmp_path / "model.onnx").read_bytes()
    with closing(OwnProcess(partial(EveryOutput, content), memory=2**30)) as model:
        assert model(batch(1000))["y"].tolist() == [[0]]
        with pytest.raises(EngineFailure, match=r"may take 1\.0 GiB here") as caught:
            model(batch(20_000))  # 1.5 GiB
        assert "\n" not in str(caught.value)
        assert model(batch(10_000))["y"].tolist() == [[0]], "400 MB are none of its business"
    with pytest.raises(StageError, match=r"may take 1\.0 GiB here"):
        OwnProcess(partial(np.zeros, 2**28), memory=2**30)
    with closing(OwnProcess(partial(EveryOutput, content))) as model:
        assert model(batch(20_000))["y"].tolist() == [[0]]


def test_a_process_killed_from_outside_is_missed_once(model: OwnProcess):
    _, process = model(batch(0))
    os.kill(process, 9)
    with pytest.raises(EngineFailure, match="crashed"):
        model(batch(0))
    assert model(batch(0))[0] == 1


def test_what_does_not_open_says_why(tmp_path: Path, float_onnx: Path):
    with pytest.raises(UsageError, match="does not import"):
        OwnProcess(partial(load_function, "no_such_module:answer", "model"))
    gone = EngineFile("onnxruntime", tmp_path / "gone.onnx", "0")
    with pytest.raises(StageError, match="the engine file is gone"):
        OwnProcess(partial(open_engine, gone))


def test_an_engine_answers_to_the_last_bit_as_it_does_here(float_onnx: Path):
    engine = EngineFile.of("onnxruntime", float_onnx)
    images = np.random.default_rng(0).random((7, 1, 8, 8), np.float32)
    with targets["onnxruntime"].load(engine) as here:
        assert np.array_equal(OwnProcess(partial(open_engine, engine))(images), here(images))


def test_standard_output_stays_clean_and_no_process_outlives_its_parent(tmp_path: Path):
    (tmp_path / "moody.py").write_text(MODULE)
    script = (
        "import functools, numpy as np, os, sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from edgeproof.core.function import load_function\n"
        "from edgeproof.targets.process.own_process import OwnProcess\n"
        "model = OwnProcess(functools.partial(load_function, 'moody:answer', 'model'))\n"
        "print(int(model(np.zeros((1, 1, 1, 1), np.float32))[1]), flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    child = int(done.stdout)
    assert "a line on standard output" in done.stderr
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            return
        time.sleep(0.1)
    pytest.fail("the model's process is still there")


def test_an_engine_that_finds_no_memory_is_named(float_onnx: Path, monkeypatch: pytest.MonkeyPatch):
    def load(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(type(targets["onnxruntime"]), "load", load)
    with pytest.raises(StageError, match=f"^{float_onnx}: MemoryError$"):
        open_engine(EngineFile.of("onnxruntime", float_onnx))
