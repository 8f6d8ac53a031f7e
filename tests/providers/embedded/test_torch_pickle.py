import collections
import io
import os
import pickle
import random
import sys
import types

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.providers.embedded import read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C


def legacy_file(tensors, storages, order=None):
    """Write the legacy format with stand-ins for torch: tensors {name: (storage, offset, shape, stride)}."""

    def module(name, **members):
        made = types.ModuleType(name)
        for key, value in members.items():
            value.__module__, value.__qualname__ = name, key
            setattr(made, key, value)
        return made

    def rebuild(*_):
        return None

    class FloatStorage:
        def __init__(self, key):
            self.key = key

    modules = {
        "torch": module("torch", FloatStorage=FloatStorage),
        "torch._utils": module("torch._utils", _rebuild_tensor_v2=rebuild),
    }

    class Tensor:
        def __init__(self, *args):
            self.args = args

        def __reduce__(self):
            storage, *rest = self.args
            return rebuild, (FloatStorage(storage), *rest, False, collections.OrderedDict())

    class Writer(pickle.Pickler):
        def persistent_id(self, thing):
            if isinstance(thing, FloatStorage):
                return "storage", FloatStorage, thing.key, "cpu", len(storages[thing.key]), None
            return None

    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        buffer = io.BytesIO()
        for thing in (MAGIC, 1001, {}):
            pickle.dump(thing, buffer, 2)
        Writer(buffer, 2).dump(collections.OrderedDict((name, Tensor(*t)) for name, t in tensors.items()))
        keys = list(storages) if order is None else order
        pickle.dump(keys, buffer, 2)
    finally:
        for name, old in before.items():
            if old is None:
                sys.modules.pop(name)
            else:
                sys.modules[name] = old
    for key in keys:
        values = np.asarray(storages[key], "<f4")
        buffer.write(len(values).to_bytes(8, "little") + values.tobytes())
    return buffer.getvalue()


def test_reads_shared_storages_offsets_and_strides():
    data = legacy_file(
        {
            "a": ("0", 0, (2, 3), (3, 1)),
            "b": ("0", 2, (2,), (2,)),
            "t": ("1", 0, (2, 2), (1, 2)),
            "s": ("1", 3, (), ()),
        },
        {"0": [0, 1, 2, 3, 4, 5], "1": [10, 11, 12, 13]},
    )
    found = read_state_dict(data)
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].tolist() == [2, 4]
    assert found["t"].tolist() == [[10, 12], [11, 13]]
    assert found["s"].tolist() == 13


@pytest.mark.parametrize(
    "tensor",
    [
        ("0", 0, (7,), (1,)),
        ("0", 5, (2,), (1,)),
        ("0", -1, (2,), (1,)),
        ("0", 0, (2, 2), (9, 1)),
        ("0", 4, (2,), (-1,)),
    ],
)
def test_tensors_outside_their_storage_are_refused(tensor):
    with pytest.raises(UserError, match="outside"):
        read_state_dict(legacy_file({"a": tensor}, {"0": [0, 1, 2, 3, 4, 5]}))


def test_a_huge_count_is_refused_before_it_is_allocated():
    data = legacy_file({"a": ("0", 0, (2,), (1,))}, {"0": [1, 2]})
    with pytest.raises(UserError):
        read_state_dict(data[:-4])


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
def test_a_pickle_that_calls_something_is_refused_and_runs_nothing(place, tmp_path):
    witness = tmp_path / "ran"

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(witness),)

    parts = [MAGIC, 1001, {}, {}, []]
    parts[place] = Hostile()
    with pytest.raises(UserError, match=r"mkdir"):
        read_state_dict(b"".join(pickle.dumps(part, 2) for part in parts))
    assert not witness.exists()


@pytest.mark.parametrize(
    "name", ["builtins eval", "torch load", "collections defaultdict", "torch._utils _rebuild_qtensor"]
)
def test_only_five_names_are_known(name):
    module, attribute = name.split()
    with pytest.raises(UserError, match="asks for"):
        read_state_dict(f"c{module}\n{attribute}\n.".encode())


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x02K\x01.", random.Random(0).randbytes(64)])
def test_other_files_are_refused(data):
    with pytest.raises(UserError, match="not loaded"):
        read_state_dict(data)
