"""The face: what `import edgeproof` and `python -m edgeproof` give, and what they do not wait for."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import edgeproof

HEAVY = ("torch", "onnx", "onnxruntime", "numpy", "pydantic", "scipy", "sklearn", "matplotlib", "joblib")


def fresh(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_importing_it_imports_nothing_heavy():
    asked = f"print([name for name in {HEAVY} if name in sys.modules])"
    code = f"import sys, edgeproof; edgeproof.__version__; dir(edgeproof); {asked}"
    assert fresh("-P", "-c", code) == "[]\n"


def test_its_functions_are_those_of_the_commands():
    from edgeproof.pipeline.commands.build import build
    from edgeproof.pipeline.commands.teachers import rank_teachers
    from edgeproof.pipeline.commands.verify import verify

    assert (edgeproof.build, edgeproof.verify, edgeproof.rank_teachers) == (build, verify, rank_teachers)
    assert edgeproof.__version__ == version("edgeproof")
    assert set(edgeproof.__all__) == {"build", "verify", "rank_teachers", "__version__"} <= set(dir(edgeproof))
    with pytest.raises(AttributeError, match="no attribute 'prove'"):
        edgeproof.prove  # noqa: B018


def test_the_command_says_its_version_and_what_it_is():
    assert fresh("-m", "edgeproof", "--version") == f"edgeproof {version('edgeproof')}\n"
    shown = fresh("-m", "edgeproof", "--help")
    assert "attack the engine itself" in " ".join(shown.split())
    assert "--version" in shown
