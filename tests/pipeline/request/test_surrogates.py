"""Surrogates that want other pixels: adapted by options of their own, and named where they guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.request.clean_answers import look_at_clean_answers, of_surrogate
from edgeproof.pipeline.request.verification import SURROGATE, Request, check_request
from edgeproof.stages.adapt import AdapterConfig
from edgeproof.stages.data import DataConfig
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.twin import load_twin
from edgeproof.stages.verify import EngineSubject, FunctionSubject, VerifyConfig
from edgeproof.stages.verify.checks.base import Finding

from tests.e2e.vendor import as_vendors_ship

FUNCTION = """
import onnxruntime
session = onnxruntime.InferenceSession({path!r}, providers=["CPUExecutionProvider"])
def logits(images):
    return session.run(None, {{session.get_inputs()[0].name: images}})[0]
"""
HALF = AdapterConfig(normalize="half")


def asked(model: str | Path, scratch: Path, surrogate: Path | None, **more: Any) -> Request:
    return check_request(
        str(model),
        DataConfig(dataset="digits"),
        ThreatModel(norm="Linf", eps=0.1),
        VerifyConfig(samples=4, isolate=False),
        "onnxruntime",
        scratch=scratch,
        surrogate=surrogate,
        **more,
    )


def said_of(request: Request, vendor: Path, adapter: AdapterConfig) -> list[Finding]:
    """What `verify` finds against the surrogate."""
    assert request.lending is not None
    around = request.adapted.get(SURROGATE)
    return of_surrogate(look_at_clean_answers(request.lending, request.dataset, str(vendor), adapter, around))


@pytest.fixture
def vendor(float_onnx: Path, tmp_path: Path) -> Path:
    return as_vendors_ship(float_onnx, tmp_path / "vendor.onnx")


def test_a_surrogate_that_guesses_is_named_with_the_option_that_helps(float_onnx: Path, vendor: Path, tmp_path: Path):
    request = asked(float_onnx, tmp_path / "untold", vendor)
    (finding,) = said_of(request, vendor, AdapterConfig())
    assert (finding.name, finding.inconclusive) == ("surrogate-looks-unnormalised", True)
    assert "; verify it with --surrogate-normalize half; --surrogate-mean 0.307 --surrogate-std " in finding.sentence
    request = asked(float_onnx, tmp_path / "told", vendor, surrogate_adapter=HALF)
    assert not said_of(request, vendor, HALF)
    assert request.adapted[SURROGATE].words == ("mean 0.5", "std 0.5", "layout NHWC")
    # What its gradients come from answers as the model does on the data set's pixels.
    subject = request.subjects["onnxruntime"]
    assert isinstance(subject, EngineSubject)
    assert subject.surrogate is not None
    images = request.samples.images
    with torch.no_grad():
        theirs, ours = (load_twin(each)(torch.from_numpy(images)) for each in (subject.surrogate, float_onnx))
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_a_surrogate_of_a_function(float_onnx: Path, vendor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a_device.py").write_text(FUNCTION.format(path=str(float_onnx)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    request = asked("a_device:logits", tmp_path / "untold", vendor)
    assert [each.name for each in said_of(request, vendor, AdapterConfig())] == ["surrogate-looks-unnormalised"]
    request = asked("a_device:logits", tmp_path / "told", vendor, surrogate_adapter=HALF)
    subject = request.subjects["function"]
    assert isinstance(subject, FunctionSubject)
    assert not said_of(request, vendor, HALF)
    assert subject.surrogate == (tmp_path / "told" / SURROGATE / "model.onnx").resolve()


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        ({"layout": "NCHW"}, r"^--surrogate-layout NCHW: input 'pixels' of .*vendor\.onnx is \[N, 8, 8, 1\]"),
        ({"output_name": "no"}, r"^--surrogate-output-name: .*vendor\.onnx has no output 'no'"),
        (
            {"mean": "1,2"},
            r"^--surrogate-mean: has 2 numbers, .* 1 channel; say --surrogate-mean and --surrogate-std of one",
        ),
    ],
)
def test_what_contradicts_the_surrogate_is_said_by_its_own_option(
    float_onnx: Path, vendor: Path, tmp_path: Path, adapter: dict[str, Any], words: str
):
    with pytest.raises(UsageError, match=words):
        asked(float_onnx, tmp_path / "scratch", vendor, surrogate_adapter=AdapterConfig(**adapter))


def test_a_surrogate_without_a_twin_is_refused_by_its_name(float_onnx: Path, tmp_path: Path):
    model = onnx.load(float_onnx)
    (output,) = model.graph.output
    noise = [
        onnx.helper.make_node("Bernoulli", [output.name], ["coins"], name="coins"),
        onnx.helper.make_node("Mul", [output.name, "coins"], ["tossed"]),
    ]
    model.graph.node.extend(noise)
    output.name = "tossed"
    onnx.save(model, tmp_path / "coins.onnx")
    words = r"^--surrogate: .*coins\.onnx: lends no gradients: node 'coins' \(Bernoulli, .*; name another model"
    with pytest.raises(UsageError, match=words):
        asked(float_onnx, tmp_path / "scratch", tmp_path / "coins.onnx")


def test_an_option_of_the_surrogate_needs_one(float_onnx: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"^--surrogate-normalize: needs a --surrogate"):
        asked(float_onnx, tmp_path, None, surrogate_adapter=HALF)


def test_a_masked_class_is_named_with_the_option_that_helps(float_onnx: Path, tmp_path: Path):
    model = onnx.load(float_onnx)
    (output,) = model.graph.output
    mask = np.where(np.arange(10) == 3, -np.inf, 0).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(mask, "mask"))
    model.graph.node.append(onnx.helper.make_node("Add", [output.name, "mask"], ["masked"]))
    output.name = "masked"
    onnx.save(model, tmp_path / "masked.onnx")
    request = asked(float_onnx, tmp_path / "untold", tmp_path / "masked.onnx")
    finding = next(
        each for each in said_of(request, tmp_path / "masked.onnx", AdapterConfig()) if "finite" in each.name
    )
    assert "-inf is the logit of class 3; verify it with --surrogate-masked-classes if" in finding.sentence
    told = AdapterConfig(masked_classes=True)
    request = asked(float_onnx, tmp_path / "told", tmp_path / "masked.onnx", surrogate_adapter=told)
    assert not [each for each in said_of(request, tmp_path / "masked.onnx", told) if "finite" in each.name]
