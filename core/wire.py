"""Protocol Buffers wire format, for where neither onnx nor protobuf is.

Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTH = {_FIXED64: 8, _FIXED32: 4}
_LONGEST = 10  # bytes of a number


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Every field of a message, in file order: its number, and its value, a number or bytes.

    Raises:
        ValueError: it ends too early, or is no message.
    """
    place = 0
    while place < len(message):
        tag, place = _number(message, place)
        # Other parsers drop the bits above; what they would read in such a file is not what stands here.
        if tag >> 32 or not tag >> 3:
            raise ValueError(f"field {tag >> 3} does not exist")
        kind = tag & 7
        if kind == _VARINT:
            value, place = _number(message, place)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, place = _number(message, place)
        elif kind in _WIDTH:
            size = _WIDTH[kind]
        else:
            raise ValueError(f"wire type {kind} does not occur in ONNX files")
        if place + size > len(message):
            raise ValueError("a field ends behind the end")
        yield tag >> 3, message[place : place + size]
        place += size


def field(number: int, value: int | bytes) -> bytes:
    """Write one field: a number of at least 0, or bytes (a string, or a message)."""
    if isinstance(value, int):
        return _written(number << 3 | _VARINT) + _written(value)
    return _written(number << 3 | _BYTES) + _written(len(value)) + value


def _number(message: memoryview, place: int) -> tuple[int, int]:
    """Read a number: seven bits a byte, the lowest first; return it and the place behind it."""
    value = 0
    for shift, byte in enumerate(message[place : place + _LONGEST]):
        value |= (byte & 0x7F) << 7 * shift
        if not byte & 0x80:
            return value, place + shift + 1
    raise ValueError("a number does not end")


def _written(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
