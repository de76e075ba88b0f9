"""The twin against the ONNX project's own node tests: every case runs, or is listed with a reason.

`unsupported.txt` holds one case per line: name, kind, reason, separated by tabs and sorted by name.

- `refused`: the twin says at construction that it cannot reproduce the case.
- `differs`: the twin runs it and yields other numbers; the reason says why that is right.

To list what a new onnx release adds: `python tests/conformance/test_onnx_backend.py`, and read what it prints.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import ModelError
from edgeproof.stages.twin import Twin, UnsupportedOperator, supported_operators
from onnx import numpy_helper

LIST = Path(__file__).with_name("unsupported.txt")


@lru_cache(maxsize=1)
def cases() -> dict[str, Any]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy overflows on purpose in some of them
        return {case.name: case for case in collect_testcases(None)}


@lru_cache(maxsize=1)
def listed() -> dict[str, tuple[str, str]]:
    lines = [line.split("\t") for line in LIST.read_text().splitlines()]
    return {name: (kind, reason) for name, kind, reason in lines}


def array(value: Any) -> np.ndarray:
    result = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    if result.dtype.name in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"):
        result = result.astype(np.float32)
    if result.dtype.name in ("bfloat16", "int2", "uint2", "int4", "uint4"):  # types that numpy itself lacks
        result = result.astype(np.float32 if result.dtype.name == "bfloat16" else np.int8)
    return result


def tensor(value: Any) -> torch.Tensor:
    is_bfloat16 = (
        value.data_type == onnx.TensorProto.BFLOAT16
        if isinstance(value, onnx.TensorProto)
        else np.asarray(value).dtype.name == "bfloat16"
    )
    result = torch.from_numpy(np.array(array(value), order="C"))
    return result.bfloat16() if is_bfloat16 else result


def outcome(case: Any) -> tuple[str, str] | None:
    """None where the twin passes the case, else what happened and why."""
    try:
        twin = Twin(case.model)
    except UnsupportedOperator as error:
        return "refused", f"{error.op_type}: {error.reason}"
    except ModelError as error:
        return "refused", str(error)
    for inputs, expected in case.data_sets:
        with torch.no_grad():
            found = twin(*map(tensor, inputs))
        results = found if isinstance(found, tuple) else (found,)
        assert len(results) == len(expected)
        for result, value in zip(results, expected, strict=True):
            wanted = array(value)
            if tuple(result.shape) != wanted.shape:
                return "differs", f"shape {tuple(result.shape)} for {wanted.shape}"
            # Quantized values travel as floats, so values are compared, and not their types.
            close = np.allclose(
                result.double().numpy(), wanted.astype(np.float64), rtol=case.rtol, atol=case.atol, equal_nan=True
            )
            if not close:
                return "differs", "values"
    return None


def test_every_case_passes_or_is_listed() -> None:
    unexpected = {}
    for name, case in cases().items():
        found = outcome(case)
        kind = None if found is None else found[0]
        wanted = listed()[name][0] if name in listed() else None
        if kind != wanted:
            unexpected[name] = (found, f"listed as {wanted}")
    assert not unexpected


def test_the_list_is_sorted_and_has_reasons() -> None:
    names = list(listed())
    assert names == sorted(names)
    assert len(names) == len(LIST.read_text().splitlines())
    assert all(kind in ("refused", "differs") and reason for kind, reason in listed().values())


def test_most_claimed_operators_have_a_case() -> None:
    """An operator without any case that runs rests on our own tests only: name them, and let it be few."""
    ran = {node.op_type for name, case in cases().items() if name not in listed() for node in case.model.graph.node}
    without = {name for name in supported_operators() if "::" not in name} - ran
    assert without == {"GlobalLpPool", "SimplifiedLayerNormalization"}


@pytest.mark.parametrize("name", ["test_relu", "test_conv_with_strides_padding", "test_softmax_axis_1"])
def test_the_comparison_can_fail(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Twin.forward
    monkeypatch.setattr(Twin, "forward", lambda self, *inputs: forward(self, *inputs) * 1.01)
    assert outcome(cases()[name]) == ("differs", "values")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, case in sorted(cases().items()):
        found = outcome(case)
        if found is not None:
            kind, reason = found
            known = name in listed() and kind == "differs"
            print(name, kind, listed()[name][1] if known else reason, sep="\t")
