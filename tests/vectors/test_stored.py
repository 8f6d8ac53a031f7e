"""The copy of vectors that is kept beside a dataset: whatever becomes of it, a search sees what the table holds."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from panoglot.table import create_dataset
from panoglot.vectors import Vectors, flat_runs, read_runs

ROWS, DIM = 300, 8
HERE = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}


def rows(first, count, dim=DIM):
    made = np.random.default_rng(first).normal(size=(count, dim)).astype(np.float16)
    return [
        {
            "vector_id": f"{first + n:032x}",
            "id": f"{first + n:032x}",
            "of": "image",
            "vector": list(map(float, made[n])),
        }
        for n in range(count)
    ]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr("panoglot.vectors._stored.KEEP", 100)
    data = create_dataset(tmp_path / "x.pano")
    table = data.vectors(data.add_vectors("toy:a", "f" * 16, DIM), DIM)
    table.insert(rows(0, ROWS))
    return table


def read(table):
    """What is searched, in order of id."""
    vectors = Vectors(table)
    vectors.refresh()
    owners = np.concatenate([part.owners for part in vectors.parts])
    values = np.concatenate([part.vectors for part in vectors.parts])
    order = np.argsort(owners)
    return owners[order].tolist(), values[order].astype(np.float32)


def right(table):
    held = table.read(["id", "vector"]).sort_by("id").to_pydict()
    owners, values = read(table)
    assert owners == [one.encode() for one in held["id"]]
    np.testing.assert_array_equal(values, np.array(held["vector"], np.float32))


def copies(table):
    return sorted(Path(table.store.scratch("cache")).glob("*.*"))


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 0x40
    path.write_bytes(bytes(raw))


DAMAGE = {
    "flipped vector": lambda copy: flip(copy / "vectors.npy"),
    "flipped owner": lambda copy: flip(copy / "owners.npy"),
    "flipped kind": lambda copy: flip(copy / "captions.npy"),
    "cut": lambda copy: os.truncate(copy / "vectors.npy", 1000),
    "empty": lambda copy: os.truncate(copy / "owners.npy", 0),
    "longer": lambda copy: (copy / "owners.npy").write_bytes((copy / "owners.npy").read_bytes() + b"x"),
    "gone": lambda copy: (copy / "captions.npy").unlink(),
    "no state": lambda copy: (copy / "state.json").unlink(),
    "a number": lambda copy: (copy / "state.json").write_text("5"),
    "no files": lambda copy: (copy / "state.json").write_text(
        json.dumps({"states": json.loads((copy / "state.json").read_text())["states"]})
    ),
    "no JSON": lambda copy: (copy / "state.json").write_bytes(b"\xff{"),
    "of another": lambda copy: (copy / "state.json").write_text('{"states": [], "files": {}}'),
    "a file": lambda copy: (shutil.rmtree(copy), copy.write_text("no folder")),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_copy_is_not_searched(table, how):
    right(table)
    (copy,) = copies(table)
    DAMAGE[how](copy)
    right(table)
    right(table)


@pytest.mark.parametrize("file", ["coarse-centre.npy", "coarse-rows.npy", "coarse-facts.npy", "coarse-state.json"])
def test_a_damaged_coarse_copy_is_not_searched_and_made_anew(table, file):
    def found():
        vectors = Vectors(table)
        vectors.refresh()
        return [part.coarse is not None for part in vectors.parts]

    assert Vectors(table).make_coarse()
    (copy,) = copies(table)
    assert found() == [True]
    flip(copy / file)
    assert found() == [False]
    assert Vectors(table).make_coarse()
    assert found() == [True]
    os.utime(copy / "coarse-rows.npy", ns=(1, 1))  # its time differs, what is in it does not
    assert found() == [True]


def test_a_copy_that_was_copied_is_taken(table):
    """Its times differ; what is in it does not."""
    right(table)
    (copy,) = copies(table)
    os.utime(copy / "vectors.npy", ns=(1, 1))
    right(table)
    assert (copy / "vectors.npy").stat().st_mtime_ns == 1  # it was not written anew


def test_a_place_that_cannot_be_written(table):
    cache = Path(table.store.scratch("cache"))
    cache.write_text("a file where the folder would be")
    right(table)
    assert cache.read_text().startswith("a file")


def test_no_room(table, monkeypatch):
    monkeypatch.setattr("panoglot.vectors._stored._room", lambda folder: 1000)
    right(table)
    assert copies(table) == []


WORKER = """
import os, signal, sys
import panoglot.vectors._stored as stored
from panoglot.table import open_dataset
stored.KEEP = 100
data = open_dataset(sys.argv[1])
table = data.vectors(data.vector_names()[0])
if sys.argv[2] == "kill":
    batches = stored._batches
    def killed(*given, **more):
        for batch in batches(*given, **more):
            yield batch
            os.kill(os.getpid(), signal.SIGKILL)
    stored._batches = killed
if sys.argv[2] == "small":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
vectors = stored.Vectors(table)
vectors.refresh()
print(len(vectors))
"""


def work(table, how):
    command = [sys.executable, "-c", WORKER, table.store.absolute, how]
    return subprocess.run(command, capture_output=True, text=True, env=HERE, timeout=120)


def test_a_writer_that_is_killed_leaves_nothing_for_ever(table):
    assert work(table, "kill").returncode == -9
    cache = Path(table.store.scratch("cache"))
    (left,) = cache.iterdir()
    right(table)
    assert left.exists()  # somebody may write on it still
    for path in (left, *left.iterdir()):
        os.utime(path, (1, 1))
    table.insert(rows(1000, 5))
    shutil.rmtree(copies(table)[0])
    right(table)
    assert not left.exists()


def test_a_disk_that_is_full_while_it_is_written(table):
    done = work(table, "small")
    assert (done.returncode, done.stdout) == (0, f"{ROWS}\n"), done.stderr
    assert list(Path(table.store.scratch("cache")).iterdir()) == []
    right(table)


def test_many_at_once_and_rows_that_come_and_go(table):
    wrong = []

    def look():
        try:
            for _ in range(5):
                owners, _ = read(table)
                assert len(owners) in (ROWS, ROWS + 50, ROWS + 50 - 10)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    table.insert(rows(5000, 50))
    table.delete("id < '0000000000000000000000000000000a'")
    for thread in threads:
        thread.join()
    assert wrong == []
    right(table)


@pytest.mark.parametrize("size", [1, 7, ROWS - 1, ROWS, 10 * ROWS])
def test_rows_are_the_same_whatever_is_read_at_a_time(table, monkeypatch, size):
    plain = {row["id"].encode(): row["vector"] for row in table.read().to_pylist()}
    for keep in (10**9, 100):  # in memory, and as a copy
        monkeypatch.setattr("panoglot.vectors._stored.KEEP", keep)
        monkeypatch.setattr("panoglot.vectors._stored.HELD", size)
        monkeypatch.setattr("panoglot.vectors._stored.COPIED", size)
        owners, values = read(table)
        assert owners == sorted(plain)
        assert (values == np.array([plain[key] for key in owners], np.float32)).all()


#: Numbers of a vector that Lance does not put into small blocks.
WIDE = 256


@pytest.fixture
def wide(tmp_path, monkeypatch):
    monkeypatch.setattr("panoglot.vectors._stored.KEEP", 100)
    data = create_dataset(tmp_path / "x.pano")
    table = data.vectors(data.add_vectors("toy:wide", "f" * 16, WIDE), WIDE)
    table.insert(rows(0, ROWS, WIDE))
    return table


def written(table, made, version="2.2"):
    """Write rows anew as Lance of some file version does."""
    full = [{name: row.get(name) for name in table.schema.names} for row in made]
    uri = table.store.table(table.name).uri
    shutil.rmtree(uri)
    for start in range(0, len(full), 128):
        some = pa.Table.from_pylist(full[start : start + 128], table.schema)
        mode = "append" if start else "create"
        lance.write_dataset(some, uri, mode=mode, data_storage_version=version, max_rows_per_file=50)


LIES = {
    "in many files": (True, lambda table: written(table, rows(0, ROWS, WIDE))),
    "joined again": (True, lambda table: (written(table, rows(0, ROWS, WIDE)), table.tidy())),
    "as older Lance wrote it": (True, lambda table: written(table, rows(0, ROWS, WIDE), "2.1")),
    "as still older Lance wrote it": (False, lambda table: written(table, rows(0, ROWS, WIDE), "2.0")),
    "with rows deleted": (False, lambda table: table.delete(f"id < '{40:032x}'")),
    "with a vector that was changed": (False, lambda table: table.upsert([{**rows(900, 1, WIDE)[0], **KEYS}])),
    "all the same": (
        None,
        lambda table: written(table, [{**row, "vector": [0.5] * WIDE} for row in rows(0, ROWS, WIDE)]),
    ),
}
KEYS = dict.fromkeys(("vector_id", "id"), f"{7:032x}")


@pytest.mark.parametrize("how", LIES)
def test_vectors_are_read_as_they_lie_or_by_lance(wide, monkeypatch, how):
    straight, write = LIES[how]
    write(wide)
    asked, plain = [], lance.LanceDataset.scanner
    monkeypatch.setattr(lance.LanceDataset, "scanner", lambda self, *a, **k: asked.append(k) or plain(self, *a, **k))
    Vectors(wide).refresh()
    (copy,) = copies(wide)
    assert straight in (None, not any("vector" in (one.get("columns") or ()) for one in asked))
    vectors, owners = np.load(copy / "vectors.npy"), np.load(copy / "owners.npy")
    held = wide.read(["id", "vector"])
    assert owners.tolist() == [key.encode() for key in held["id"].to_pylist()]
    assert vectors.tobytes() == np.array(held["vector"].to_pylist(), np.float16).tobytes()
    right(wide)


def test_a_file_that_ends_too_early_is_not_searched(wide):
    (file,) = Path(wide.store.table(wide.name).uri).glob("data/*.lance")
    whole = file.read_bytes()
    (run,) = flat_runs(wide.lance(), wide.lance().get_fragments())
    assert whole[run.start :][: run.size] == b"".join(map(bytes, read_runs([run])))
    file.write_bytes(whole[: run.start + run.size // 2])
    with pytest.raises(OSError, match="too early"):
        list(read_runs([run]))
