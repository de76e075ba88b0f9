"""The table that edgeproof exists for: a wrong backward pass reports an INT8 engine as too robust."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "backward_modes.py"


@pytest.fixture(scope="module")
def bench():
    spec = spec_from_file_location("backward_modes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_usual_gradients_flatter_and_ours_does_not(bench, student: Classifier, digits: Dataset, tmp_path: Path):
    found = bench.table(student, digits, tmp_path)
    true = {scheme: found[bench.WORST][scheme] for scheme in bench.SCHEMES}
    ours = found[bench.MODES["relu"]]
    usual, identity = found[bench.MODES["clipped"]], found[bench.MODES["identity"]]
    # What the table showed when it was measured: 0.888, 0.938 and 0.852 where 0.848 is the worst case.
    assert usual["U8S8"] > true["U8S8"] + 0.02
    assert usual["S8S8"] > true["S8S8"] + 0.01
    assert identity["U8S8"] > true["U8S8"] + 0.05
    for scheme in bench.SCHEMES:
        assert ours[scheme] <= true[scheme] + 0.01, "our gradient finds what any other attack finds"
        assert ours[scheme] <= found[bench.REPLAY][scheme] + 0.006, "and is no weaker than replay"
