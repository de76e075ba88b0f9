"""Ranking teachers: what it says of planted ones, and what it refuses."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.commands.teachers import show_teachers
from edgeproof.stages.models import build_model
from rich.console import Console

from edgeproof import rank_teachers

STUDENT = Path(__file__).parents[2] / "data" / "student.safetensors"

PLANTED = f"""
from pathlib import Path
from torch import nn
from edgeproof.stages.checkpoint import read_weights
from edgeproof.stages.models import build_model

class Times(nn.Module):
    def __init__(self, inner, factor):
        super().__init__()
        self.inner, self.factor = inner, factor
    def forward(self, x):
        return self.inner(x) * self.factor

def trained(shape, classes):
    model = build_model("cnn8_small", shape, classes, seed=0)
    model.load_state_dict(read_weights(Path({str(STUDENT)!r}))[0])
    return model

def overconfident(shape, classes):
    return Times(trained(shape, classes), 10.0)

def broken(shape, classes):
    return Times(trained(shape, classes), -1.0)

def probabilities(shape, classes):
    return nn.Sequential(trained(shape, classes), nn.Softmax(1))

def failing(shape, classes):
    raise RuntimeError("no weights\\nto be found")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user stands: with a module of models, and a checkpoint that does not name its model."""
    (tmp_path / "planted.py").write_text(PLANTED)
    torch.save(build_model("cnn8_small", (1, 8, 8), 7, seed=0).state_dict(), tmp_path / "seven.pt")
    torch.save(build_model("cnn8_small", (1, 8, 8), 10, seed=0).state_dict(), tmp_path / "bare.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "planted", raising=False)
    return tmp_path


def ranked(*candidates: str | Path, **more: Any) -> dict[str, Any]:
    return rank_teachers(candidates, **{"dataset": "digits", "eps": "0.1", **more})


def test_planted_teachers_are_ranked_and_nothing_is_written(folder: Path):
    result = ranked("planted:overconfident", "planted:broken", STUDENT, samples=300)
    best, sharp, broken = result["candidates"]
    assert [best["candidate"], sharp["candidate"], broken["candidate"]] == [
        str(STUDENT),
        "planted:overconfident",
        "planted:broken",
    ]
    assert [entry["rank"] for entry in result["candidates"]] == [1, 2, 3]
    assert (best["model"], best["parameters"], len(best["sha256"])) == ("cnn8_small", 5746, 64)
    assert sharp["sha256"] is None
    assert best["pgd_accuracy"] == sharp["pgd_accuracy"]
    assert best["pgd_accuracy"] > 0.6
    assert broken["clean_accuracy"] < 0.1
    low, high = best["pgd_accuracy_ci"]
    assert low < best["pgd_accuracy"] < high
    assert best["entropy"] > 2 * sharp["entropy"]
    assert result["samples"] == {"validation": 150, "train": 150}
    assert result["warnings"][0].startswith("planted:broken: does no better than guessing")
    assert "2 of 3 are strong enough" in result["reason"]
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {"planted.py", "seven.pt", "bare.pt"}


def test_the_same_call_gives_the_same_figures():
    one, two = (ranked(STUDENT, samples=60, steps=3)["candidates"][0] for _ in range(2))
    for timed in (one, two):
        assert timed.pop("images_per_second") > 0
    assert one == two


def test_bare_checkpoints_get_their_model_by_option_or_one_by_one():
    for candidate, more in (("bare.pt", {"model": "cnn8_small"}), ("cnn8_small=bare.pt", {})):
        (found,) = ranked(candidate, samples=20, steps=1, **more)["candidates"]
        assert found["model"] == "cnn8_small"
        assert found["candidate"] == candidate


def test_a_checkpoint_that_names_its_model_keeps_it():
    (found,) = ranked(STUDENT, model="cnn8_wide", samples=20, steps=1)["candidates"]
    assert found["model"] == "cnn8_small"


def test_the_table_fits_eighty_columns_and_says_what_it_is():
    text = io.StringIO()
    show_teachers(ranked(STUDENT, "planted:overconfident", samples=100, steps=3), Console(file=text, width=80))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(text.getvalue().split())
    for words in ("clean [95 %]", "PGD-3 [95 %]", "entropy", "img/s", "5.75k", "Suggested order:", "not a proof",
                  "No test image was used", "images are hard, so the entropies are rough"):  # fmt: skip
        assert words in said, words


@pytest.mark.parametrize(
    ("candidates", "options", "words"),
    [
        (("none.pt",), {}, "none.pt: no such file"),
        (("none",), {}, "candidate 'none': is no file, and neither package.module:function nor"),
        (
            ("planted.py",),
            {},
            "candidate 'planted.py': is no checkpoint (.safetensors, .pt, .pth, .ckpt, .tar, .bin), and neither",
        ),
        (("resnet18",), {}, "candidate 'resnet18': is no file"),
        (("seven.pt",), {}, "seven.pt: does not name its model; write MODEL=seven.pt, or give --model"),
        (("cnn8_small=seven.pt",), {}, "seven.pt: has 7 classes, the data have 10"),
        (("cnn8_smal=seven.pt",), {}, "cnn8_smal=seven.pt: unknown model 'cnn8_smal'; did you mean 'cnn8_small'?"),
        (("cnn8_small=none.pt",), {}, "none.pt: no such file"),
        (("cnn8_wide=bare.pt",), {}, "bare.pt: does not fit model 'cnn8_wide': 0.weight is [8, 1, 3, 3] in the file"),
        (("seven.pt",), {"model": "cnn8_smal"}, "--model: unknown model 'cnn8_smal'; did you mean 'cnn8_small'?"),
        (("planted:probabilities",), {}, "planted:probabilities: answers with probabilities (each row sums to 1)"),
        (("planted:failing",), {}, "planted:failing is called with (image_shape, classes) = ((1, 8, 8), 10): "),
        (("planted:missing",), {}, "model 'planted:missing': planted has no function 'missing'"),
        (("nowhere:net",), {}, "model 'nowhere:net': the module nowhere does not import"),
        ((STUDENT, STUDENT), {}, "a candidate is given twice"),
        ((), {}, "no candidate is given"),
        ((STUDENT,), {"eps": "2"}, "--eps: must be in (0, 1] for Linf, got 2"),
        ((STUDENT,), {"norm": "L3"}, "--norm: unknown norm 'L3'; did you mean 'L2'? (known: L2, Linf)"),
        ((STUDENT,), {"dataset": "digit"}, "--dataset: unknown dataset 'digit'; did you mean 'digits'?"),
        ((STUDENT,), {"samples": 5000}, "--samples: must be from 2 to 1297, the validation and training images"),
        ((STUDENT,), {"samples": 1}, "--samples: must be from 2 to 1297"),
        ((STUDENT,), {"steps": 0}, "--steps: must be at least 1, got 0"),
        ((STUDENT,), {"seed": -1}, "--seed: must be at least 0, got -1"),
    ],
)
def test_candidates_and_options_that_are_refused(candidates: tuple[Any, ...], options: dict[str, Any], words: str):
    with pytest.raises(UsageError) as caught:
        ranked(*candidates, **options)
    message = str(caught.value)
    assert message.startswith(words)
    assert "\n" not in message
