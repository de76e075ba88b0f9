"""ONNX element types, and the torch types that carry them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

FLOATS: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
}

#: Floats of 8 bits, which travel as float32.
FLOATS8: dict[int, torch.dtype] = {
    TensorProto.FLOAT8E4M3FN: torch.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: torch.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
}

# torch computes poorly with uint16/32/64 and not at all with 2 and 4 bits: these travel in a wider type.
INTEGERS: dict[int, torch.dtype] = {
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.int32,
    TensorProto.UINT32: torch.int64,
    TensorProto.UINT64: torch.int64,
    TensorProto.INT4: torch.int8,
    TensorProto.UINT4: torch.uint8,
    TensorProto.INT2: torch.int8,
    TensorProto.UINT2: torch.uint8,
}

DTYPES: dict[int, torch.dtype] = {**FLOATS, **INTEGERS, TensorProto.BOOL: torch.bool}

#: Smallest and largest value of the integer types that a quantizer writes.
RANGES: dict[int, tuple[int, int]] = {
    TensorProto.INT2: (-2, 1),
    TensorProto.UINT2: (0, 3),
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT8: (0, 255),
    TensorProto.INT16: (-(2**15), 2**15 - 1),
    TensorProto.UINT16: (0, 2**16 - 1),
    TensorProto.INT32: (-(2**31), 2**31 - 1),
    TensorProto.UINT32: (0, 2**32 - 1),
}

_WIDER = {
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
    **dict.fromkeys(FLOATS8.values(), torch.float32),
}


def type_name(elem_type: int) -> str:
    """Name of an ONNX element type in lower case, such as ``"float8e4m3fn"``."""
    try:
        return TensorProto.DataType.Name(elem_type).lower()  # type: ignore[arg-type]
    except ValueError:
        return f"type {elem_type}"


def from_proto(proto: onnx.TensorProto) -> Tensor:
    """The torch tensor of an ONNX tensor.

    Raises:
        TypeError: the element type is one that the twin does not carry (strings, complex).
    """
    if proto.data_type in FLOATS8:
        return torch.from_numpy(numpy_helper.to_array(proto).astype(np.float32))
    if proto.data_type not in DTYPES:
        raise TypeError(f"element type {type_name(proto.data_type)}")
    dtype = DTYPES[proto.data_type]
    array: Any = numpy_helper.to_array(proto)
    if proto.data_type == TensorProto.BFLOAT16:
        array = array.astype(np.float32)
    elif proto.data_type not in FLOATS and proto.data_type != TensorProto.BOOL:
        array = array.astype(str(dtype).removeprefix("torch."))
    # A copy: the array may be a read-only view of the file.
    return torch.from_numpy(np.array(array, order="C")).to(dtype)


def widen(x: Tensor) -> Tensor:
    """`x`, with the types that torch does not compute with in a wider one."""
    return x.to(_WIDER[x.dtype]) if x.dtype in _WIDER else x


def ints(x: Tensor | list[int]) -> list[int]:
    """The values of a shape, axes or index tensor as Python integers, whatever carries them."""
    if isinstance(x, list):  # known to whoever traces the graph; see `sizes`
        return x
    return [int(value) for value in x.reshape(-1).tolist()]


def as_index(x: Tensor) -> Tensor:
    """`x` as int64, for use as an index: an index computed from floats travels as a float tensor."""
    return x if x.dtype == torch.int64 else x.to(torch.int64)
