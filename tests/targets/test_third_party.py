"""A runtime of somebody else's: an installed package with one module and one entry point, and nothing of ours changed.

This is the whole of what a third party writes; `CONTRIBUTING.md` names the entry-point group.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from edgeproof.stages.data import Dataset
from edgeproof.targets.base import targets
from onnx.reference import ReferenceEvaluator

from tests import warm

MODULE = '''
"""ONNX's own reference implementation as a target: slow, and right by definition."""

from dataclasses import dataclass

import numpy as np
from edgeproof.targets.base import Availability, Engine, Scheme, TargetOptions
from edgeproof.core.errors import StageError
from edgeproof.targets.onnx_file import OnnxFileTarget
from edgeproof.targets.signature import read_signature


@dataclass(frozen=True, kw_only=True)
class Options(TargetOptions):
    verbose: int = 0


class ReferenceEngine(Engine):
    def __init__(self, path, options):
        from onnx.reference import ReferenceEvaluator

        super().__init__(read_signature(path))
        try:
            self._evaluator = ReferenceEvaluator(str(path), verbose=options.verbose)
        except RuntimeError as error:  # an operator, or a version of one, that it does not have
            raise StageError(f"{path}: the reference refuses the model: {error}") from None

    def _run(self, images):
        return np.array(self._evaluator.run(None, {self.signature.input_name: images})[0], np.float32)


class Reference(OnnxFileTarget):
    name = "reference"
    scheme = Scheme("u8s8", activation="uint8")
    options = Options

    def available(self):
        from importlib.metadata import version

        return Availability(True, versions={"onnx": version("onnx")})

    def load(self, engine, *, threads=1):
        self.check_available()
        engine.check()
        return ReferenceEngine(engine.path, self.options_of(engine))


reference = Reference()
'''

METADATA = "Metadata-Version: 2.1\nName: edgeproof-reference\nVersion: 1.2\n"
ENTRY_POINTS = "[edgeproof.targets]\nreference = edgeproof_reference:reference\n"


BROKEN = "broken = edgeproof_reference:nothing\n"


def installed(folder: Path, entry_points: str) -> Path:
    """A folder of installed packages, as pip leaves it."""
    about = folder / "edgeproof_reference-1.2.dist-info"
    about.mkdir(parents=True)
    (folder / "edgeproof_reference.py").write_text(MODULE)
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(entry_points)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("site"), ENTRY_POINTS)


def there(site: Path) -> dict[str, str]:
    """The environment of a process where that package is installed."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])}


def test_it_stands_in_the_lists_and_a_broken_one_beside_it_is_one_line(tmp_path: Path):
    site = installed(tmp_path / "site", ENTRY_POINTS + BROKEN)
    command = [sys.executable, "-m", "edgeproof", "list", "targets", "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=there(site))
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert found["reference"] == {
        "name": "reference",
        "summary": "ONNX's own reference implementation as a target: slow, and right by definition.",
        "origin": "edgeproof-reference",
        "problem": None,
    }
    assert "the plug-in target 'broken' (edgeproof_reference:nothing) does not load" in found["broken"]["problem"]
    assert found["onnxruntime"]["origin"] is None
    code, out, err = warm.run(["targets", "--json"], env=there(site))
    assert code == 0, err
    states = {state["name"]: state for state in json.loads(out)}
    assert (states["broken"]["available"], states["broken"]["reason"]) == (False, found["broken"]["problem"])
    assert states["reference"]["available"] is True
    assert list(states["reference"]["versions"]) == ["onnx"]
    assert "reference" not in targets.names(), "here it is not installed"


def test_it_builds_and_answers_and_its_options_are_checked(
    site: Path, float_onnx: Path, digits: Dataset, tmp_path: Path
):
    np.save(tmp_path / "images.npy", digits.test.images[:7])
    (tmp_path / "building.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from edgeproof.targets.base import targets\n"
        "from edgeproof.targets.option_values import read_options\n"
        "model, out = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "target = targets['reference']\n"
        "built = target.build(model, out / 'engine', options=read_options(target.options, ['verbose=0']))\n"
        "with target.load(built) as engine:\n"
        "    np.save(out / 'logits.npy', engine(np.load(out / 'images.npy')))\n"
    )
    script = tmp_path / "building.py"
    code, _, err = warm.run([str(float_onnx), str(tmp_path)], env=there(site), script=script)
    assert code == 0, err
    evaluator = ReferenceEvaluator(str(float_onnx))
    expected = evaluator.run(None, {evaluator.input_names[0]: digits.test.images[:7]})[0]
    assert np.array_equal(np.load(tmp_path / "logits.npy"), expected)
    bench = ["bench", str(float_onnx), "--target", "reference", "--option", "verbos=1"]
    code, _, err = warm.run(bench, env=there(site))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "verbos: unknown option; did you mean 'verbose'?" in err


def test_what_it_refuses_is_one_line(site: Path, int8_onnx: Path):
    """It has no DequantizeLinear of opset 18; the file is opened in a process of its own."""
    code, _, err = warm.run(["bench", f"reference:{int8_onnx}"], env=there(site))
    assert (code, len(err.splitlines())) == (3, 1)
    assert "the reference refuses the model: No implementation for operator 'DequantizeLinear'" in err


def test_it_is_timed_beside_others(site: Path, float_onnx: Path):
    """Its processes import it too."""
    arguments = ["bench", f"reference:{float_onnx}", "--against", f"onnxruntime:{float_onnx}", "--batch", "1"]
    code, out, err = warm.run([*arguments, "--repeats", "10", "--json"], env=there(site))
    assert code == 0, err
    assert [each["target"] for each in json.loads(out)["engines"]] == ["reference", "onnxruntime"]
