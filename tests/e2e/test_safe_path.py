"""A checkout may hold a `numpy.py` of its own: no process that attacks runs it, and the user's functions are found."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.e2e.conftest import ENV

_TRAPS = ("numpy", "torch", "onnx", "json", "joblib", "pickle", "socket")
_TRAP = """
from pathlib import Path
Path(__file__).with_suffix(".ran").touch()
raise SystemExit(1)
"""
_FUNCTION = """
import numpy as np
import onnxruntime

SESSION = onnxruntime.InferenceSession({path!r})


def logits(images):
    return SESSION.run(None, {{SESSION.get_inputs()[0].name: np.asarray(images)}})[0]
"""
_SCRIPT = str(Path(sysconfig.get_path("scripts"), "edgeproof"))


@pytest.mark.parametrize(
    ("command", "model"),
    [([_SCRIPT], "function"), ([sys.executable, "-m", "edgeproof"], "file")],
    ids=["script", "module"],
)
def test_modules_of_the_working_directory_do_not_shadow(
    tmp_path: Path, float_onnx: Path, command: list[str], model: str
):
    for name in _TRAPS:
        (tmp_path / f"{name}.py").write_text(_TRAP)
    (tmp_path / "own_model.py").write_text(_FUNCTION.format(path=str(float_onnx)))
    subject = [str(float_onnx)] if model == "file" else ["own_model:logits"]
    asked = ["--dataset", "digits", "--eps", "0.5", "--samples", "300", "--workers", "2", "--no-curve"]
    env = {key: value for key, value in ENV.items() if key != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [*command, "verify", *subject, *asked], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert list(tmp_path.glob("*.ran")) == [], done.stderr
    # Black-box attacks alone are inconclusive about a function, whatever they find.
    assert done.returncode == (0 if model == "file" else 4), done.stderr
