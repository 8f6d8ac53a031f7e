"""Files made to hang a reader or to fill its memory: each is refused with its reason, within limits, beside good ones.

Everything is read in a process that is watched: past the limit of time or memory it is ended, and the test fails.
"""

import io
import json
import os
import select
import struct
import subprocess
import sys
import tarfile
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SECONDS, KILOBYTES = 25, 1_100_000
HEAD = b'<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100">'


class Watched:
    """The worker; started when needed, ended when it takes too much."""

    child = None

    def read(self, path):
        if self.child is None or self.child.poll() is not None:
            code = [sys.executable, str(Path(__file__).with_name("zoo_worker.py"))]
            self.child = subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.child.stdin.write(json.dumps(str(path)) + "\n")
        self.child.stdin.flush()
        started = time.monotonic()
        while not select.select([self.child.stdout], [], [], 0.05)[0]:
            taken = sum(map(resident, [self.child.pid, *children(self.child.pid)]))
            if time.monotonic() - started > SECONDS or taken > KILOBYTES:
                self.end()
                pytest.fail(f"took {taken / 1e6:.1f} GB and more than {time.monotonic() - started:.0f} s")
        line = self.child.stdout.readline()
        assert line, "the worker crashed"
        return json.loads(line)

    def end(self):
        if self.child is not None:
            self.child.kill()
            self.child.communicate()


def children(pid):
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def resident(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().split("\n")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


@pytest.fixture(scope="module")
def watched():
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is watched through /proc")
    worker = Watched()
    yield worker
    worker.end()


def encode(picture, name, **options):
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


def jpg(seed=0):
    return encode(PIL.Image.new("RGB", (20 + seed, 10), (seed * 20, 9, 9)), "JPEG")


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# -- pictures ----------------------------------------------------------------------------------------------------------


def endless_scans():
    data = encode(PIL.Image.new("L", (4000, 4000)), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 1000 + b"\xff\xd9"


def fill_in_scan():
    data = encode(PIL.Image.effect_noise((200, 200), 50), "JPEG")
    return data[:-2] + b"\xff" * 40_000_000 + data[-2:]


def grey16(side=9000):
    squeeze = zlib.compressobj(1)
    body = b"".join(squeeze.compress(b"\0" + b"\x80\x10" * side) for _ in range(side)) + squeeze.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def gif_with_a_comment():
    data = encode(PIL.Image.new("P", (10, 10)), "GIF")
    at = 13 + (3 << (data[10] & 7) + 1)
    return data[:at] + b"!\xfe" + (b"\xff" + b"a" * 255) * 60_000 + b"\0" + data[at:]


def bmp_with_runs():
    runs, side = b"\x01\x01" * 1_500_000, 12_000
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078) + head + bytes(1024) + runs


def drawing_with_filters():
    group = b'<g filter="url(#f)">'
    blur = b'<filter id="f"><feGaussianBlur stdDeviation="90"/></filter>'
    return HEAD + blur + group * 900 + b'<rect width="90" height="90"/>' + b"</g>" * 900 + b"</svg>"


#: name of the file -> (what makes it, reasons with which it may be refused; None where it must be read)
PICTURES = {
    "comments.svg": (lambda: HEAD + b"<!--" * 1_000_000 + b"</svg>", {"undecodable"}),
    "comments-first.svg": (lambda: b"<!--" * 1_000_000 + HEAD, {"not_an_image"}),
    "imports.svg": (lambda: HEAD + b"<style>" + b"@import " * 200_000 + b"</style></svg>", None),
    "urls.svg": (lambda: HEAD + b"<style>" + b"url( " * 200_000 + b"</style></svg>", None),
    "roots.svg": (lambda: b"<svg " * 1_000_000 + b">", {"bad_header"}),
    "digits.svg": (lambda: b'<svg width="' + b"1" * 4_000_000 + b'x" height="3">', {"bad_header"}),
    "blanks.svg": (lambda: b"<svg" + b" " * 4_000_000 + b'height="3">', {"bad_header"}),
    "box.svg": (lambda: b'<svg viewBox="0 0 1.2.3 4"></svg>', {"bad_header"}),
    "filters.svg": (drawing_with_filters, {"decode_timeout", "decode_memory", "undecodable"}),
    "scans.jpg": (endless_scans, {"decode_timeout"}),
    "fill.jpg": (lambda: b"\xff\xd8" + b"\xff" * 40_000_000, {"bad_header"}),
    "fill-in-scan.jpg": (fill_in_scan, None),
    "segments.jpg": (lambda: jpg()[:2] + b"\xff\xe5\0\x02" * 150_000 + jpg()[2:], None),
    "grey16.png": (grey16, None),
    "comment.gif": (gif_with_a_comment, None),
    "runs.bmp": (bmp_with_runs, {"truncated", "undecodable", "decode_timeout"}),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_hostile_picture_costs_a_bounded_time_and_nothing_beside_it(name, tmp_path, watched):
    make, reasons = PICTURES[name]
    (tmp_path / "a.jpg").write_bytes(jpg(1))
    (tmp_path / name).write_bytes(make())
    (tmp_path / "z.jpg").write_bytes(jpg(2))
    found = watched.read(tmp_path)
    assert set(found["good"]) == {"a.jpg", "z.jpg"} | ({name} if reasons is None else set())
    assert len(found["reasons"]) == (reasons is not None)
    assert set(found["reasons"]) <= (reasons or set())


@pytest.mark.parametrize("name", ["p.jpg", "a.txt"])
def test_a_pipe_in_a_folder_is_never_opened(name, tmp_path, watched):
    (tmp_path / "a.jpg").write_bytes(jpg(1))
    os.mkfifo(tmp_path / name)
    assert watched.read(tmp_path) == {"good": {"a.jpg": []}, "reasons": ["not_a_file"]}


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.tar", "t.parquet", "t.list", "t.json", "captions_t.json"])
def test_a_pipe_named_like_a_table_is_never_opened(name, tmp_path, watched):
    os.mkfifo(tmp_path / name)
    found = watched.read(tmp_path / name)
    assert "mistake" in found or found == {"good": {}, "reasons": ["not_a_file"]}


def test_a_pipe_among_tables_costs_no_other(tmp_path, watched):
    (tmp_path / "p.jpg").write_bytes(jpg())
    os.mkdir(tmp_path / "t")
    os.mkfifo(tmp_path / "t" / "a.csv")
    (tmp_path / "t" / "b.csv").write_text("file_name\np.jpg\n")
    (tmp_path / "t" / "p.jpg").write_bytes(jpg())
    found = watched.read(tmp_path / "t" / "*.csv")
    assert found == {"good": {"b.csv#0": []}, "reasons": ["not_a_file"]}


# -- archives ----------------------------------------------------------------------------------------------------------


class Zeros(io.RawIOBase):
    def __init__(self, left):
        self.left = left

    def readable(self):
        return True

    def readinto(self, buffer):
        size = min(len(buffer), self.left)
        buffer[:size] = bytes(size)
        self.left -= size
        return size


@pytest.mark.parametrize(("ending", "size"), [("gz", 300_000_000), ("xz", 150_000_000), ("bz2", 100_000_000)])
@pytest.mark.parametrize("name", ["m.jpg", "m.json"])
def test_an_archive_that_inflates(ending, size, name, tmp_path, watched):
    with tarfile.open(tmp_path / f"a.tar.{ending}", f"w:{ending}") as tar:
        for member, file, length in (
            ("a.jpg", io.BytesIO(jpg(1)), len(jpg(1))),
            (name, Zeros(size), size),
            ("z.jpg", io.BytesIO(jpg(2)), len(jpg(2))),
        ):
            info = tarfile.TarInfo(member)
            info.size = length
            tar.addfile(info, file)
    found = watched.read(tmp_path / f"a.tar.{ending}")
    assert {key.partition("#")[2] for key in found["good"]} == {"a.jpg", "z.jpg"}
    assert found["reasons"] == ["not_an_image" if name == "m.jpg" else "too_many_bytes"]


def test_a_header_of_a_gigabyte_costs_no_picture(tmp_path, watched):
    def member(name, data):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)

    link = tarfile.TarInfo("././@LongLink")
    link.size, link.type = 2**30, b"L"
    with open(tmp_path / "a.tar", "wb") as file:
        file.write(member("a.jpg", jpg(1)) + link.tobuf(tarfile.GNU_FORMAT))
        file.seek(2**30, os.SEEK_CUR)  # a hole: it takes no room
        file.write(member("b.jpg", jpg(2)) + member("c.jpg", jpg(3)) + bytes(1024))
    found = watched.read(tmp_path / "a.tar")
    assert {key.partition("#")[2] for key in found["good"]} == {"a.jpg", "b.jpg", "c.jpg"}
    assert found["reasons"] == ["too_many_bytes"]


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    """Writes a table of ten pictures whose fifth row is what the test gives."""
    for n in range(10):
        (tmp_path / f"p{n}.jpg").write_bytes(jpg(n))

    def write(name, head, row, line):
        text = head + "".join(row.format(n=n) for n in range(5)) + line + "\n"
        (tmp_path / name).write_text(text + "".join(row.format(n=n) for n in range(6, 10)))
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        ('p5.jpg,"' + "a lot of text, and more\n" * 400_000 + '",1', ["too_many_bytes"]),
        ('p5.jpg,"' + "a lot of text, " * 5_000_000 + '",1', ["too_many_bytes"]),
        ('p5.jpg,"' + ('a ""lot"" of, ' * 20_000 + "\n") * 80 + '",1', ["too_many_bytes"]),
        ('p5.jpg,"open\n' + "just a line\n" * 20_000 + "just another", ["bad_row", "bad_row"]),
        ('p5.jpg,"open,1\n' + 'p1.jpg,"open,1\n' * 3000 + "p5.jpg,x,1", None),
    ],
    ids=["lines", "one line", "quotes", "open", "many open"],
)
def test_a_quoted_text_without_end(line, reasons, table, watched):
    found = watched.read(table("t.csv", "file_name,caption,n\n", "p{n}.jpg,text {n},1\n", line))
    assert {f"t.csv#{n}" for n in range(5)} <= found["good"].keys()
    assert sum(texts in ([f"text {n}"] for n in range(6, 10)) for texts in found["good"].values()) == 4
    if reasons is not None:
        assert len(found["good"]) == 9
        assert found["reasons"] == reasons


@pytest.mark.parametrize(
    ("line", "reasons", "kept"),
    [
        ('{"file_name": "p5.jpg", "x": [' + ",".join(["{}"] * 8_000_000) + "]}", ["bad_json"], 9),
        ('{"file_name": "p5.jpg", "x": ' + "[" * 900 + "]" * 900 + "}", ["bad_json"], 9),
        ('{"file_name": "p5.jpg", "caption": "a\\ud800b"}', ["bad_encoding"], 10),
        (
            '{"file_name": "p5.jpg", "caption": ["a\\ud800b", "fine"], "g": {"\\udc00": "\\udc01"}}',
            ["bad_encoding"],
            10,
        ),
        ('{"file_name": "p5.jpg", "caption_\\ud800": "x", "lang": "\\ud800"}', [], 10),
        ('{"file_name": "p5\\ud800.jpg"}', ["bad_encoding"], 9),
    ],
    ids=["many values", "deep", "text", "list", "key", "path"],
)
def test_hostile_json_lines(line, reasons, kept, table, watched):
    row = '{{"file_name": "p{n}.jpg", "caption": "text {n}"}}\n'
    found = watched.read(table("t.jsonl", "", row, line))
    assert len(found["good"]) == kept
    assert found["reasons"] == reasons


@pytest.mark.parametrize("more", ["1," * 20_000_000 + "1", "{}," * 8_000_000 + "{}"], ids=["numbers", "objects"])
def test_an_array_of_tiny_elements_is_refused_before_it_is_read(more, tmp_path, watched):
    (tmp_path / "p.jpg").write_bytes(jpg())
    (tmp_path / "t.json").write_text('[{"file_name": "p.jpg", "caption": "text"},' + more + "]")
    assert "cannot be read" in watched.read(tmp_path / "t.json")["mistake"]


@pytest.mark.parametrize(
    ("image", "annotation", "reasons"),
    [
        (',{"id": ' + "[" * 900 + "]" * 900 + ', "file_name": "p0.jpg"}', "", ["bad_json"]),
        (',{"id": 77, "file_name": "p0.jpg", "x": ' + '{"a":' * 400 + "1" + "}" * 400 + "}", "", ["bad_json"]),
        ("", '{"id": 1, "image_id": 1, "caption": "a\\ud800"}', ["bad_encoding"]),
        (',{"id": 77, "file_name": "p0.jpg", "x": ' + "[" * 90_000 + "]" * 90_000 + "}", "", None),
        ("," + ",".join(["{}"] * 8_000_000), "", None),
    ],
    ids=["id", "deep", "surrogate", "very deep", "many"],
)
def test_hostile_coco(image, annotation, reasons, tmp_path, watched):
    for n in range(10):
        (tmp_path / f"p{n}.jpg").write_bytes(jpg(n))
    images = ",".join(f'{{"id": {n}, "file_name": "p{n}.jpg"}}' for n in range(10))
    text = f'{{"images": [{images}{image}], "annotations": [{annotation}]}}'
    (tmp_path / "captions_t.json").write_text(text)
    found = watched.read(tmp_path / "captions_t.json")
    if reasons is None:
        assert "is not a COCO file" in found["mistake"]
    else:
        assert (len(found["good"]), found["reasons"]) == (10, reasons)


def nested(depth):
    kind, value = pa.int32(), 1
    for _ in range(depth):
        kind, value = pa.list_(kind), [value]
    return pa.array([value] * 10, kind)


def long_list():
    many = 20_000_000
    offsets = pa.array(np.array([0] * 6 + [many] * 5, np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(np.zeros(many, np.int8)))


def mapped():
    inner = pa.list_(pa.struct([("x", pa.list_(pa.int8()))]))
    return pa.array([[("k", [{"x": [1]}])]] * 10, pa.map_(pa.string(), inner))


def repeated(size):
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(10, np.int32)), pa.array(["x" * size]))


@pytest.mark.parametrize(
    ("column", "reasons"),
    [
        (lambda: nested(60), []),
        (lambda: nested(400), ["bad_column"]),
        (lambda: nested(1000), ["bad_column"]),
        (long_list, ["bad_column"]),
        (lambda: pa.array([b"a"] * 9 + [bytes(90_000_000)], pa.binary()), ["bad_column"]),
        (lambda: repeated(30_000_000), []),
        (mapped, []),
    ],
    ids=["nested", "very nested", "far too nested", "long list", "large value", "dictionary", "map"],
)
def test_a_hostile_column_costs_no_row(column, reasons, tmp_path, watched):
    table = pa.table({"image": [jpg(n) for n in range(10)], "caption": [f"t{n}" for n in range(10)], "x": column()})
    pq.write_table(table, tmp_path / "t.parquet", compression="zstd", use_dictionary=["x"] if reasons == [] else False)
    del table
    found = watched.read(tmp_path / "t.parquet")
    assert sorted(found["good"].values()) == [[f"t{n}"] for n in range(10)]
    assert found["reasons"] == reasons


def test_a_dictionary_that_multiplies(tmp_path, watched):
    rows = 60
    table = pa.table(
        {
            "image": pa.array([jpg(n % 10) for n in range(rows)]),
            "caption": [f"t{n}" for n in range(rows)],
            "note": pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 20_000_000])),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", compression="zstd", store_schema=False)
    found = watched.read(tmp_path / "t.parquet")
    assert sorted(found["good"].values()) == sorted([f"t{n}"] for n in range(rows))
    assert Counter(found["reasons"]) == {"bad_column": 1}
