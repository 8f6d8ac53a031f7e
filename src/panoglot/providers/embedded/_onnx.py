"""A small writer of ONNX files: enough of the protobuf wire format for a graph of named tensors.

Field numbers: onnx.proto3 of ONNX IR version 8. Written by hand because the `onnx` package is 30 MB for these few
lines.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Graph"]

_OPSET, _IR_VERSION = 17, 8


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative int64: two's complement, ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, float):
        return _bytes(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _int(20, 1)
    if isinstance(value, str):
        return _bytes(1, name) + _bytes(4, value) + _int(20, 3)
    if isinstance(value, int):
        return _bytes(1, name) + _int(3, value) + _int(20, 2)
    return _bytes(1, name) + b"".join(_int(8, n) for n in value) + _int(20, 7)


class Graph:
    """Collects nodes and constants; `node` answers with the name of its output, so graphs read like formulas."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._count = 0

    def constant(self, value: np.ndarray) -> str:
        """Add a float32 or int64 constant."""
        import numpy as np

        kind = {"f": (1, "<f4"), "i": (7, "<i8")}[value.dtype.kind]
        name = f"c{len(self._constants)}"
        dims = b"".join(_int(1, n) for n in value.shape)
        raw = np.ascontiguousarray(value, dtype=kind[1]).tobytes()
        self._constants.append(dims + _int(2, kind[0]) + _bytes(8, name) + _bytes(9, raw))
        return name

    def node(self, op: str, *inputs: str | np.ndarray, output: str | None = None, **attributes: Any) -> str:
        """Add an operation on names and constants; return the name of its one output."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        self._count += 1
        output = output or f"t{self._count}"
        parts = [_bytes(1, name) for name in names] + [_bytes(2, output), _bytes(4, op)]
        parts += [_bytes(5, _attribute(key, value)) for key, value in attributes.items()]
        self._nodes.append(b"".join(parts))
        return output

    def serialize(self, inputs: dict[str, Sequence[int | str]], outputs: Sequence[str]) -> bytes:
        """Return the file's bytes.

        Args:
            inputs: name to shape of every (float32) input; a string is a free dimension.
            outputs: names of (float32) tensors to give back.
        """
        graph = b"".join(_bytes(1, n) for n in self._nodes) + _bytes(2, self._name)
        graph += b"".join(_bytes(5, c) for c in self._constants)
        graph += b"".join(_bytes(11, _value_info(name, shape)) for name, shape in inputs.items())
        graph += b"".join(_bytes(12, _value_info(name, None)) for name in outputs)
        opset = _bytes(1, "") + _int(2, _OPSET)
        return _int(1, _IR_VERSION) + _bytes(2, "panoglot") + _bytes(7, graph) + _bytes(8, opset)


def _value_info(name: str, shape: Sequence[int | str] | None) -> bytes:
    kind = _int(1, 1)  # float32
    if shape is not None:
        dims = [_int(1, n) if isinstance(n, int) else _bytes(2, n) for n in shape]
        kind += _bytes(2, b"".join(_bytes(1, dim) for dim in dims))
    return _bytes(1, name) + _bytes(2, _bytes(1, kind))
