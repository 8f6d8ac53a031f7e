"""Tensors out of a legacy (before the zip format) `torch.save` file, without torch and without running anything in it.

A pickle can name any function for the reader to call. This reader knows five names and refuses all others, and it
checks every size against the file before it allocates. Format: `torch.serialization._legacy_load`: four pickles (magic
number, protocol, system facts, the object) and a list of storage keys, then for each key an int64 count and the raw
values.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from math import prod
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["read_state_dict"]

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Tensor:
    """A tensor whose values come later in the file."""

    def __init__(self, storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> None:
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return _Tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, saved: Any) -> Any:
        kind, dtype, key, _, count, view = saved
        if kind != "storage" or dtype not in _STORAGES.values() or view is not None:
            raise pickle.UnpicklingError(f"unknown storage {saved!r:.80}")
        return dtype, str(key), int(count)


def read_state_dict(data: bytes) -> dict[str, np.ndarray]:
    """Read the tensors of a legacy torch file.

    Args:
        data: the whole file.

    Returns:
        name to array, as stored.

    Raises:
        UserError: it is not such a file, is cut, or asks for anything but tensors.
    """
    import numpy as np

    file = io.BytesIO(data)
    try:
        magic, _, _ = (_Reader(file).load() for _ in range(3))
        if magic != _MAGIC:
            raise pickle.UnpicklingError("no torch magic number")
        saved, keys = _Reader(file).load(), _Reader(file).load()
        tensors = {str(name): value for name, value in saved.items() if isinstance(value, _Tensor)}
        kinds = {key: (dtype, count) for dtype, key, count in (t.storage for t in tensors.values())}
        values: dict[str, np.ndarray] = {}
        for key in map(str, keys):
            dtype, count = kinds[key]
            start = file.tell() + 8
            if int.from_bytes(data[start - 8 : start], "little") != count or count < 0:
                raise ValueError(f"storage {key}: not {count} values")
            values[key] = np.frombuffer(data, dtype, count, start)  # refuses what lies outside the file
            file.seek(start + values[key].nbytes)
        return {name: _view(values[t.storage[1]], t) for name, t in tensors.items()}
    except Exception as error:  # a hostile pickle can raise anything
        raise UserError(f"this is no plain torch weights file ({error}); it was not loaded.") from error


def _view(flat: np.ndarray, tensor: _Tensor) -> np.ndarray:
    """A tensor as a copy of its part of the storage; its last element must lie inside."""
    import numpy as np

    shape, stride = (tuple(int(n) for n in sizes) for sizes in (tensor.shape, tensor.stride))
    at = int(tensor.offset)
    last = at + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if min((at, *shape, *stride), default=at) < 0 or prod(shape) > flat.size or last >= flat.size:
        raise ValueError("a tensor lies outside its storage")
    steps = tuple(step * flat.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(flat[at:], shape, steps, writeable=False).copy()
