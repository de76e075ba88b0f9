"""Models in memory: each kind of object is attacked as its file would be, and none is changed by it.

The subject is linear, and its images are away from 0 and 1, so that robustness is known exactly.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edgeproof.core.errors import BackendMissing, EdgeproofError, UsageError
from edgeproof.pipeline.reports.result import Result
from edgeproof.pipeline.request.model_in_memory import ModelInMemory, as_given
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from edgeproof import verify

EPS, CLASSES, SHAPE, COUNT = 0.02, 5, (1, 6, 6), 25
WEIGHTS = np.random.default_rng(0).normal(size=(36, CLASSES)).astype(np.float32)
WEIGHTS -= WEIGHTS.mean(0)  # no class is the usual one
_DRAWN = np.random.default_rng(1).uniform(0.2, 0.8, (400, *SHAPE)).astype(np.float32)
_OF_CLASS = (_DRAWN.reshape(len(_DRAWN), -1) @ WEIGHTS).argmax(1)
# As many of each class.
IMAGES = _DRAWN[
    np.sort([row for each in range(CLASSES) for row in np.flatnonzero(each == _OF_CLASS)[: COUNT // CLASSES]])
]
LOGITS = IMAGES.reshape(COUNT, -1) @ WEIGHTS
LABELS = LOGITS.argmax(1)
LABELS[:3] = (LABELS[:3] + 1) % CLASSES  # answered wrongly
SETTINGS = (
    "routes=[replay, whitebox, square]",
    "square_queries=20",
    "backward=[relu]",
    "strong_restarts=1",
    "isolate=false",
)
FEW: dict[str, Any] = {"eps": EPS, "curve": False, "overrides": [f"verify.{each}" for each in SETTINGS]}


SIGN = {"now": 1.0}


class Signed(nn.Module):
    """What it answers depends on something that is neither its own nor its class's."""

    def forward(self, x: Tensor) -> Tensor:
        if SIGN["now"] == 0:
            raise SystemExit(0)
        return SIGN["now"] * (x.flatten(1) @ torch.from_numpy(WEIGHTS))


class Net(nn.Module):
    """Linear in eval mode; in train mode, or with its statistics moved, it answers otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(WEIGHTS.copy()))
        self.norm = nn.BatchNorm1d(36, affine=False, eps=0)
        self.lock: Any = None

    def forward(self, x: Tensor) -> Tensor:
        x *= 1  # in place
        return self.norm(x.flatten(1)) @ self.weights


def robust() -> np.ndarray:
    """Whether each image withstands every change within the ball: margins over the L1 norm of weights' differences."""
    rows = np.arange(COUNT)
    margins = LOGITS[rows, LABELS][:, None] - LOGITS
    reach = EPS * np.abs(WEIGHTS[:, LABELS].T[:, :, None] - WEIGHTS[None]).sum(1)
    return np.all((margins > reach) | (np.arange(CLASSES) == LABELS[:, None]), axis=1)


def as_onnx(name: str = "linear") -> onnx.ModelProto:
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def session(content: Any) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def function(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) @ WEIGHTS


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(as_onnx(), tmp_path / "linear.onnx")


KINDS: dict[str, Callable[[], Any]] = {
    "module": Net,
    "model": as_onnx,
    "session of bytes": lambda: session(as_onnx().SerializeToString()),
    "session of a file": lambda: session("linear.onnx"),
    "path": lambda: Path("linear.onnx"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_called_robust_is_what_is_known_to_be(kind: str):
    assert 4 < robust().sum() < COUNT - 6, "both are among the samples"
    found = verify(KINDS[kind](), IMAGES, LABELS, **FEW)
    frame = found.to_pandas()
    assert list(frame["row"]) == list(range(COUNT))
    assert list(frame["label"]) == list(LABELS)
    assert list(frame["clean"]) == [False] * 3 + [True] * (COUNT - 3)
    assert list(frame["robust"]) == list(robust())
    assert list(frame["broken_by"].notna()) == list(frame["clean"] & ~frame["robust"])
    assert found.verdict == "measured"
    pack = found.adversarial()
    assert np.abs(pack["adversarial"] - pack["clean"]).max() <= EPS + 1e-6
    assert np.array_equal(pack["clean"], IMAGES[pack["index"]])


def test_a_function_has_no_gradients_unless_a_surrogate_lends_some():
    alone = verify(function, IMAGES, LABELS, **FEW)
    assert alone.verdict == "inconclusive"
    assert not (alone.to_pandas()["robust"].to_numpy() < robust()).any(), "an upper bound"
    helped = verify(function, IMAGES, LABELS, surrogate="linear.onnx", **FEW)
    assert list(helped.to_pandas()["robust"]) == list(robust())


def test_nothing_of_the_callers_is_changed():
    net = Net().train()
    net.weights.grad = torch.ones_like(net.weights)
    net.weights.requires_grad_(False)
    mine, before = IMAGES.copy(), {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(5)
    np.random.seed(5)
    threads, numbers = torch.get_num_threads(), (torch.rand(3), np.random.rand(3))
    torch.manual_seed(5)
    np.random.seed(5)
    torch.set_num_threads(2)
    try:
        verify(net, torch.from_numpy(mine), LABELS, workers=1, **FEW)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert (net.training, net.norm.training, net.weights.requires_grad) == (True, True, False)
    assert net.weights.grad.eq(1).all()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert np.array_equal(mine, IMAGES)
    assert torch.equal(torch.rand(3), numbers[0])
    assert np.array_equal(np.random.rand(3), numbers[1])


def test_the_same_call_goes_on_and_another_has_a_folder_of_its_own():
    net = Net()
    first = verify(net, IMAGES, LABELS, **FEW)
    assert re.fullmatch(r"runs/verify-Net-[0-9a-f]{8}", str(first.folder))
    attacked = first.folder / "report.json"
    assert verify(net, TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS)), **FEW) == first
    with torch.no_grad():
        net.weights.mul_(2)
    assert verify(net, IMAGES, LABELS, **FEW).folder != first.folder
    assert attacked.is_file()


def test_a_folder_that_holds_another_run_by_now_answers_for_none():
    first = verify(Net(), IMAGES, LABELS, out="proof", **FEW)
    with pytest.raises(UsageError, match=r"^--out proof: holds the result of another model"):
        verify("linear.onnx", IMAGES, LABELS, out="proof", **FEW)
    second = verify("linear.onnx", IMAGES, LABELS, out="proof", force=True, **FEW)
    with pytest.raises(UsageError, match=r"^proof: holds another run by now"):
        first.to_pandas()
    assert len(second.to_pandas()) == COUNT


def test_what_cannot_be_sent_to_workers_is_attacked_here():
    net = Net()
    net.lock = threading.Lock
    given = as_given(net, Path())
    assert isinstance(given, ModelInMemory)
    assert given.alone == ""
    assert given.digest == as_given(net, Path()).digest  # pyright: ignore[reportAttributeAccessIssue]

    class Held(Net):
        def __deepcopy__(self, _: Any) -> Held:
            return self

        def __reduce__(self) -> Any:
            raise TypeError("no")

    held = as_given(Held(), Path())
    assert isinstance(held, ModelInMemory)
    assert held.alone == "the module cannot be pickled"
    with pytest.raises(UsageError, match=r"^--workers: Held is attacked by one process: the module cannot be pickled$"):
        verify(Held(), IMAGES, LABELS, workers=2, **FEW)


def test_workers_get_classes_of_a_notebook(monkeypatch: pytest.MonkeyPatch):
    """As of a notebook: no other process can import the class."""
    monkeypatch.setattr(Net, "__module__", "__main__")
    few = {**FEW, "overrides": [*FEW["overrides"], "verify.shard_size=13"]}
    found = verify(Net(), IMAGES, LABELS, workers=2, **few)
    assert list(found.to_pandas()["robust"]) == list(robust())
    assert verify(Net(), IMAGES, LABELS, workers=1, **few) == found


def test_classes_that_no_test_image_has():
    some = LABELS < CLASSES - 2
    assert len(verify(Net(), IMAGES[some], LABELS[some], **FEW).to_pandas()) == some.sum()
    assert len(verify(as_onnx(), IMAGES[some], LABELS[some], **FEW).to_pandas()) == some.sum()


class Answers(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Any:
        if self.how == "raises":
            raise RuntimeError("mat1 and mat2\nshapes")
        return {"few": x.flatten(1)[:, :2], "dict": {"logits": x}, "labels": x.flatten(1).argmax(1) % CLASSES}[self.how]


@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        (3, {}, "^model: must be a file, .* got int$"),
        (Net, {}, "^model: must be .* got Net$"),
        (Answers("raises"), {}, r"^model: float32 images \[2, 1, 6, 6\]: raised RuntimeError: mat1 and mat2$"),
        (Answers("dict"), {}, r"^model: float32 .*TypeError: the answer is a dict, and no tensor of logits \[N, K\]$"),
        (Answers("few"), {}, r"^model: answers float32 \[2, 2\] to two images; logits \[2, 5\] are wanted$"),
        (Answers("labels"), {}, r"^model: answers int64 \[2\] to two images; logits \[2, 5\] are wanted$"),
        (lambda x: x, {}, r"^model: answers float32 \[2, 1, 6, 6\] to two images; logits \[2, 5\] or whole labels"),
        (lambda x: 1 / 0, {}, r"^model: float32 .*: raised ZeroDivisionError: division by zero$"),
        (onnx.ModelProto(), {}, "^model"),
        (Net(), {"target": "openvino"}, "^--target: Net is a module, which no target runs"),
        (Net(), {"adapter": {"scale": 255}}, "^--scale: is for an ONNX file; Net is a module, which prepares"),
        (
            Net(),
            {"dataset": "digits"},
            "^dataset: is for a data set that is named; leave it out, or images and labels$",
        ),
        (Net(), {"eps": 8}, "^--eps: .*8"),
        (Net(), {"images": None, "labels": None}, "^--dataset: is needed"),
        (Net(), {"images": None}, "^labels: are of images in memory; give images, or leave it out$"),
    ],
)
def test_what_cannot_be_attacked_is_told_in_one_line(model: Any, more: dict[str, Any], words: str, tmp_path: Path):
    with pytest.raises(EdgeproofError, match=words) as told:
        verify(model, **{"images": IMAGES, "labels": LABELS, **FEW, **more})
    assert told.value.exit_code == 2
    assert "\n" not in str(told.value)
    assert "scratch" not in str(told.value)
    assert not (tmp_path / "runs").exists()


def test_sessions_that_cannot_be_had_back():
    class Elsewhere(onnxruntime.InferenceSession):
        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    with pytest.raises(
        UsageError, match=r"runs on CUDAExecutionProvider; give its file, .* verify\(lambda images: ses"
    ):
        as_given(Elsewhere("linear.onnx", providers=["CPUExecutionProvider"]), Path())
    gone = session("linear.onnx")
    Path("linear.onnx").unlink()
    with pytest.raises(UsageError, match="does not tell what it was made of; give its file"):
        as_given(gone, Path())


def test_a_result_shows_itself(monkeypatch: pytest.MonkeyPatch):
    found = verify(as_onnx("a/<b>"), IMAGES, LABELS, gates=["robust_accuracy >= 0.01"], **FEW)
    assert re.fullmatch(r"Result\(pass: onnxruntime fp32, clean 0\.880, robust .*; folder='runs/.*'\)", repr(found))
    page = found._repr_html_()
    assert "<td>0.880</td>" in page
    assert f"{robust().mean():.3f} [" in page
    assert "Weaker than the standard attacks: routes, backward, square_queries, strong_restarts." in page
    assert f"on {COUNT} test images" in page
    evil = {**found.data, "name": "<script>alert(1)</script>", "reasons": ["<img>"]}
    shown = replace(found, report=replace(found.report, data=evil))._repr_html_()
    assert "<script" not in shown
    assert "<img" not in shown
    assert repr(Result(Path("x"), None)) == "Result(not verified, folder='x')"
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(
        BackendMissing, match=r"^to_pandas: pandas is not installed; pip install 'edgeproof\[notebook\]'$"
    ):
        found.to_pandas()


def test_a_module_that_answers_otherwise_is_another_one(monkeypatch: pytest.MonkeyPatch):
    before = verify(Signed(), IMAGES, LABELS, **FEW)
    monkeypatch.setitem(SIGN, "now", -1.0)
    after = verify(Signed(), IMAGES, LABELS, **FEW)
    assert before.folder != after.folder
    assert (before.subjects[0]["clean_accuracy"], after.subjects[0]["clean_accuracy"]) == (1 - 3 / COUNT, 0.0)
    with pytest.raises(UsageError, match="holds the result of another model"):
        verify(Signed(), IMAGES, LABELS, out=before.folder, **FEW)


def test_a_module_that_exits_does_not_end_the_program(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(SIGN, "now", 0.0)
    with pytest.raises(UsageError, match=r"it asked to exit \(0\)"):
        verify(Signed(), IMAGES, LABELS, **FEW)


def test_the_callers_modes_do_not_matter():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            found = verify(Net().float().eval(), IMAGES, LABELS, out="moded", **FEW)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.verdict == "measured"
    assert found.to_pandas().robust.tolist() == (robust() & (np.arange(COUNT) >= 3)).tolist()


def test_a_session_whose_file_was_written_over():
    onnx.save(as_onnx(), "written.onnx")
    session = onnxruntime.InferenceSession("written.onnx", providers=["CPUExecutionProvider"])
    model = as_onnx()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(-WEIGHTS, model.graph.initializer[0].name))
    onnx.save(model, "written.onnx")
    with pytest.raises(UsageError, match=r"^model: written.onnx answers otherwise than the session"):
        verify(session, IMAGES, LABELS, **FEW)
