"""Every registered route has its gate; `edgeproof gate`, which knows no routes, goes by the report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeproof.core.errors import UsageError
from edgeproof.pipeline.commands.gate import gate
from edgeproof.pipeline.commands.verify import verify
from edgeproof.pipeline.figures.table import gated, routes_of
from edgeproof.pipeline.recipe.recipe import Recipe, schema
from edgeproof.pipeline.reports import formats
from edgeproof.pipeline.results.report import Report
from edgeproof.stages.verify.routes.base import Route, routes

from tests.finished_run import bits, finished


class ToyRoute(Route):
    """Finds nothing."""

    def run(self, batch: Any, context: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def toy_route(monkeypatch: pytest.MonkeyPatch) -> None:
    routes.names()
    monkeypatch.setattr(routes, "_entries", {**routes._entries, "toy-route": ToyRoute()})


def gates_of(name: str) -> dict[str, str]:
    return Recipe._known_gates({name: ">= 0.9"})


def test_a_recipe_gates_what_is_registered_and_nothing_else(toy_route: None, tmp_path: Path, float_onnx: Path):
    for route in routes.names():
        assert gates_of(f"{route}_agreement")
        assert f"{route}_agreement" in schema()["properties"]["gates"]["properties"]
    assert {"toy-route", "hop-skip-jump", "apgd-t", "square"} <= {*routes.names()}
    with pytest.raises(ValueError, match=r"unknown figure 'sqare_agreement'; did you mean 'square_agreement'"):
        gates_of("sqare_agreement")
    with pytest.raises(UsageError, match=r"--gate: unknown figure 'toy_agreement'; did you mean 'toy-route_agreement'"):
        verify(float_onnx, dataset="digits", eps=0.1, out=tmp_path / "out", gates=["toy_agreement >= 0.5"])


def test_without_that_registration_there_is_no_such_figure():
    with pytest.raises(ValueError, match="unknown figure 'toy-route_agreement'"):
        gates_of("toy-route_agreement")


def test_a_finished_run_is_gated_by_the_routes_that_it_tells_of(tmp_path: Path):
    columns = bits(100, range(4))
    first = columns["replay"] & (np.arange(100) > 2)
    columns = {key: columns[key] for key in ("index", "label", "clean_correct", "robust_8bit")}
    columns |= {"theirs-1": first, "square": first & (np.arange(100) > 3), "rounded": first & (np.arange(100) > 3)}
    theirs = {"theirs-1": 0.97, "square": 0.96, "rounded": 0.96}
    run = finished(tmp_path / "run", {"onnxruntime": columns}, more={"onnxruntime": {"routes": theirs}})
    report = Report.load(run / "report.json")
    assert routes_of(report.subjects) == ["theirs-1", "square"], "8-bit images are no route"
    found = gate(run, require=["theirs-1_agreement >= 0.98"]).report
    (decided,) = found.data["gates"]
    assert (decided["value"], found.exit_code) == (pytest.approx(0.99), 0)
    assert 'edgeproof_theirs_1_agreement{subject="onnxruntime"} 0.99\n' in formats["metrics.txt"](report)
    # That it was asked for and had no one to attack is no error; that nobody knows it is.
    assert gate(run, require=["replay_agreement >= 0.9"]).report.exit_code == 4
    with pytest.raises(UsageError, match=r"unknown figure 'probe_agreement'.*theirs-1_agreement, square_agreement"):
        gate(run, require=["probe_agreement >= 0.9"])


def test_every_figure_but_milliseconds_can_be_gated_and_none_is_named_twice():
    names = [figure.name for figure in gated(["square"])]
    assert len(names) == len({*names})
    assert {"clean_accuracy", "square_agreement", "size_ratio"} <= {*names}
    assert "latency_ms" not in names


def test_the_table_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['pydantic'] = None; "
        "from edgeproof.pipeline.figures.table import every; print(len(every()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, int(done.stdout)) == (0, 11), done.stderr
