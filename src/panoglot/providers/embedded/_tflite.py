"""Small TensorFlow Lite networks as ONNX, so that onnxruntime runs them: the ten operations that BlazeFace is made of.

Field numbers: schema.fbs of TensorFlow Lite, version 3. Tensors are kept as N, C, H, W; a reshape goes back to N, H,
W, C first, as the original does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, require
from panoglot.providers.embedded._onnx import Graph

if TYPE_CHECKING:
    import numpy as np

__all__ = ["to_onnx"]

_NAMES = {
    0: "Add",
    2: "Concat",
    3: "Conv",
    4: "DepthwiseConv",
    6: "Dequantize",
    17: "MaxPool",
    19: "Relu",
    22: "Reshape",
    23: "Resize",
    34: "Pad",
}
_TYPES = {0: "<f4", 1: "<f2", 2: "<i4"}


class _Table:
    """A FlatBuffers table: fields by number, with their defaults."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def number(self, field: int, kind: str = "Int32") -> int:
        from flatbuffers import number_types

        at = self._table.Offset(4 + 2 * field)
        return self._table.Get(getattr(number_types, f"{kind}Flags"), at + self._table.Pos) if at else 0

    def array(self, field: int, dtype: str) -> np.ndarray:
        import numpy as np

        at = self._table.Offset(4 + 2 * field)
        if not at:
            return np.zeros(0, dtype)
        size, start = self._table.VectorLen(at), self._table.Vector(at)
        return np.frombuffer(self._table.Bytes, dtype, size, start)

    def tables(self, field: int) -> list[_Table]:
        from flatbuffers import table

        at = self._table.Offset(4 + 2 * field)
        places = range(self._table.VectorLen(at)) if at else ()
        start, data = self._table.Vector(at) if at else 0, self._table.Bytes
        return [_Table(table.Table(data, self._table.Indirect(start + 4 * n))) for n in places]

    def union(self, field: int) -> _Table:
        from flatbuffers import table

        at = self._table.Offset(4 + 2 * field)
        inner = table.Table(self._table.Bytes, 0)
        if at:
            self._table.Union(inner, at)
        return _Table(inner) if at else _Nothing()


class _Nothing(_Table):
    def __init__(self) -> None:
        pass

    def number(self, field: int, kind: str = "Int32") -> int:
        return 0


def to_onnx(data: bytes) -> bytes:
    """Convert a one-input float network.

    Returns:
        an ONNX file with input `x` `[1, 3, H, W]` and the network's outputs as `out0`, `out1`, …

    Raises:
        UserError: it uses something else than the ten operations.
    """
    import numpy as np

    require("flatbuffers", "flatbuffers", "embedded:faces")
    from flatbuffers import encode, packer, table

    model = _Table(table.Table(data, encode.Get(packer.uoffset, data, 0)))
    codes = [max(code.number(0, "Int8"), code.number(3)) for code in model.tables(1)]
    network, buffers = model.tables(2)[0], model.tables(4)
    tensors, operators = network.tables(0), network.tables(3)
    shapes = [tuple(int(n) for n in tensor.array(0, "<i4")) for tensor in tensors]
    graph = Graph("tflite")
    source = int(network.array(1, "<i4")[0])
    names: dict[int, str] = {source: "x"}
    values: dict[int, np.ndarray] = {}

    def value(n: int) -> np.ndarray:
        """A constant, possibly behind a Dequantize."""
        if n not in values:
            kind = tensors[n].number(1, "Int8")
            raw = buffers[tensors[n].number(2, "Uint32")].array(0, "<u1")
            values[n] = np.frombuffer(raw.tobytes(), _TYPES[kind]).reshape(shapes[n])
        return values[n]

    for operator in operators:
        op = _NAMES.get(codes[operator.number(0, "Uint32")])
        if op is None:
            raise UserError("this TensorFlow Lite network has operations that are not known here.")
        inputs, (output, *_) = [int(n) for n in operator.array(1, "<i4")], operator.array(2, "<i4").tolist()
        if op == "Dequantize":
            values[output] = value(inputs[0]).astype(np.float32)
            continue
        options = operator.union(4)
        known = [names[n] for n in inputs if n in names]
        names[output] = _node(graph, op, known, [value(n) for n in inputs if n not in names], options, shapes[output])
    height, width = shapes[source][1:3]
    outputs = [graph.node("Identity", names[int(n)], output=f"out{k}") for k, n in enumerate(network.array(2, "<i4"))]
    return graph.serialize({"x": [1, 3, height, width]}, outputs)


def _node(
    graph: Graph, op: str, x: list[str], constants: list[np.ndarray], options: _Table, shape: tuple[int, ...]
) -> str:
    import numpy as np

    if op in ("Conv", "DepthwiseConv", "MaxPool"):
        window: dict[str, Any] = {
            "auto_pad": "VALID" if options.number(0, "Int8") else "SAME_UPPER",
            "strides": [options.number(2), options.number(1)],
        }
        if op == "MaxPool":
            activation = options.number(5, "Int8")
            y = graph.node(op, x[0], kernel_shape=[options.number(4), options.number(3)], **window)
        else:
            deep = op == "DepthwiseConv"
            activation = options.number(4 if deep else 3, "Int8")
            # [out, h, w, in] to [out, in, h, w]; depthwise [1, h, w, channels] to [channels, 1, h, w]
            kernel = constants[0].transpose((3, 0, 1, 2) if deep else (0, 3, 1, 2))
            y = graph.node("Conv", x[0], kernel, constants[1], group=len(kernel) if deep else 1, **window)
    elif op == "Add":
        activation = options.number(0, "Int8")
        y = graph.node(op, *x, *(c.transpose(2, 0, 1) if c.ndim == 3 else c for c in constants))
    elif op == "Pad":
        pads = constants[0][[0, 3, 1, 2]].T.reshape(-1).astype(np.int64)  # N, H, W, C to N, C, H, W
        activation, y = 0, graph.node(op, x[0], pads)
    elif op == "Resize":
        mode = (
            "align_corners"
            if options.number(2, "Bool")
            else "half_pixel"
            if options.number(3, "Bool")
            else "asymmetric"
        )
        sizes = np.array([shape[0], shape[3], shape[1], shape[2]], np.int64)
        y = graph.node(op, x[0], "", "", sizes, mode="linear", coordinate_transformation_mode=mode)
        activation = 0
    elif op == "Reshape":
        y = graph.node(op, graph.node("Transpose", x[0], perm=[0, 2, 3, 1]), np.array(shape, np.int64))
        activation = 0
    elif op == "Concat":
        activation, y = options.number(1, "Int8"), graph.node(op, *x, axis=options.number(0))
    else:  # Relu
        activation, y = 0, graph.node(op, x[0])
    if activation not in (0, 1):
        raise UserError("this TensorFlow Lite network has activations that are not known here.")
    return graph.node("Relu", y) if activation else y
