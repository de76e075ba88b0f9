"""The threat model: exact radii, and ranges."""

from __future__ import annotations

import pytest
from edgeproof.stages.threat import ThreatModel
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("text", "value"), [("8/255", 8 / 255), ("0.1", 0.1), (0.25, 0.25), (1, 1.0), (" 2/4 ", 0.5), ("1e-2", 0.01)]
)
def test_radii_are_read_exactly(text, value: float):
    assert ThreatModel(eps=text).eps == value


@pytest.mark.parametrize("eps", ["", "8/0", "a", None, True, "nan", float("inf"), [0.1], "8/255/2"])
def test_what_is_no_radius(eps):
    with pytest.raises(ValidationError, match=r"number or a fraction|finite"):
        ThreatModel(eps=eps)


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0), ("Linf", 1.01), ("Linf", -0.1), ("L2", 0), ("L2", -1)])
def test_out_of_range(norm, eps):
    with pytest.raises(ValidationError, match="eps: must be"):
        ThreatModel(norm=norm, eps=eps)


def test_l2_may_exceed_one():
    assert ThreatModel(norm="L2", eps=3).eps == 3
