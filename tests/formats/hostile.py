"""Makes hostile input: many crops of real pictures as WebDataset and Parquet, some broken in twelve ways.

The truth is written beside them, so that a check can say of every picture and text whether it came where it belongs.

    python -m tests.formats.hostile PICTURES OUT --count 10000
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

#: way of being broken -> reason of the reject, or None when the picture is good all the same.
WAYS: dict[str, str | None] = {
    "empty": "empty_file",
    "truncated": "truncated",
    "text_named_jpg": "not_an_image",
    "wrong_extension": None,
    "cmyk": None,
    "sixteen_bit": None,
    "animated": None,
    "one_pixel": None,
    "header_bomb": "too_many_pixels",
    "zip_slip": "unsafe_path",  # outside_folder where a row names the path
    "duplicate": "duplicate",  # said by ingest, not by the readers: the picture itself is there once
    "bad_encoding": "bad_encoding",  # the text is rejected, its picture arrives
}
#: Sentences that no two languages share.
TEXTS = {
    "en": "A piece of the picture {}, number {}.",
    "de": "Ein Stück des Bildes {}, Nummer {}.",
    "ar": "جزء من الصورة {} رقم {}.",
    "hi": "चित्र {} का एक टुकड़ा, संख्या {}।",
    "th": "ส่วนหนึ่งของภาพ {} หมายเลข {}",
    "zh-Hant": "圖片 {} 的一部分，編號 {}。",
    "ja": "画像 {} の一部、番号 {}。",
    "sw": "Kipande cha picha {}, namba {}.",
}


@dataclass
class Truth:
    """What a reader must find.

    Attributes:
        images: image ids of all good pictures.
        captions: (image id, language, text) of all good texts.
        rejects: key of a broken row -> reason, for WebDataset.
        ways: way -> rows broken in it.
    """

    images: list[str] = field(default_factory=list)
    captions: list[tuple[str, str, str]] = field(default_factory=list)
    rejects: dict[str, str] = field(default_factory=dict)
    ways: dict[str, int] = field(default_factory=dict)


@dataclass
class Row:
    """One row before it is written: `data` under `name`, its text as raw bytes."""

    key: str
    name: str
    data: bytes
    lang: str
    text: bytes
    way: str | None = None


def make_hostile(pictures: Path, output: Path, count: int = 10_000, broken: float = 0.01, seed: int = 0) -> Truth:
    """Write `output/webdataset/00000.tar`, … and `output/parquet/00000.parquet`, … and `output/truth.json`.

    Args:
        pictures: a folder of real pictures, searched recursively.
        output: a new folder.
        count: rows.
        broken: share of them that is broken, in the twelve ways by turns (each at least once).
        seed: of the crops and of where the broken ones lie.
    """
    truth = Truth()
    shard = 1000 if count > 2000 else 100
    for folder in ("webdataset", "parquet"):
        (output / folder).mkdir(parents=True)
    waiting: list[Row] = []
    written = 0
    for row in _rows(pictures, count, broken, seed, truth):
        waiting.append(row)
        if len(waiting) == shard:
            _write(output, written, waiting)
            written, waiting = written + 1, []
    if waiting:
        _write(output, written, waiting)
    (output / "truth.json").write_text(json.dumps(asdict(truth), ensure_ascii=False), encoding="utf-8")
    return truth


def _rows(pictures: Path, count: int, broken: float, seed: int, truth: Truth) -> Iterator[Row]:
    rng = np.random.default_rng(seed)
    total = max(len(WAYS), round(count * broken))
    places = sorted(rng.choice(np.arange(10, count), total, replace=False).tolist())
    ways = {place: list(WAYS)[n % len(WAYS)] for n, place in enumerate(places)}
    crops = _crops(pictures, rng)
    last = b""
    for n in range(count):
        stem, crop = next(crops)
        lang = list(TEXTS)[n % len(TEXTS)]
        text = TEXTS[lang].format(stem, n)
        way = ways.get(n)
        data, name = _break(way, crop, last)
        last = data if way is None else last
        row = Row(f"{n:08d}", f"{n:08d}{name}", data, lang, text.encode(), way)
        image = hashlib.sha256(data).hexdigest()[:32]
        if way == "bad_encoding":
            row.text = "Žluťoučký kůň ".encode("iso-8859-2") + str(n).encode()
        reason = WAYS.get(way or "")
        if way is None or reason is None or way in ("duplicate", "bad_encoding"):
            truth.images.append(image)
            if way != "bad_encoding":
                truth.captions.append((image, lang, text))
        if reason is not None:
            truth.rejects[row.key] = reason
        if way:
            truth.ways[way] = truth.ways.get(way, 0) + 1
        yield row


def _crops(pictures: Path, rng: np.random.Generator) -> Iterator[tuple[str, PIL.Image.Image]]:
    """Random crops of the pictures by turns, each different from all before."""
    paths = sorted(p for p in pictures.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    assert paths, f"no pictures in {pictures}"
    seen: set[bytes] = set()
    sources: dict[Path, PIL.Image.Image] = {}
    while True:
        path = paths[int(rng.integers(len(paths)))]
        if path not in sources:
            if len(sources) > 64:
                sources.clear()
            with PIL.Image.open(path) as opened:
                rgba = opened.convert("RGBA")
            white = PIL.Image.new("RGBA", rgba.size, "white")
            sources[path] = PIL.Image.alpha_composite(white, rgba).convert("RGB")
        picture = sources[path]
        side = [int(rng.integers(min(64, s), min(256, s) + 1)) for s in picture.size]
        left, top = (int(rng.integers(0, s - w + 1)) for s, w in zip(picture.size, side, strict=True))
        crop = picture.crop((left, top, left + side[0], top + side[1]))
        digest = hashlib.sha256(crop.tobytes() + bytes(str(crop.size), "ascii")).digest()
        if digest not in seen and crop.getextrema() != ((255, 255),) * 3:
            seen.add(digest)
            yield path.stem, crop


def _encode(picture: PIL.Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


def _break(way: str | None, crop: PIL.Image.Image, last: bytes) -> tuple[bytes, str]:
    """The bytes of a crop broken in a way, and the end of its file name."""
    data = _encode(crop, "JPEG", quality=88)
    if way == "empty":
        return b"", ".jpg"
    if way == "truncated":
        return data[: len(data) * 2 // 3], ".jpg"
    if way == "text_named_jpg":
        return b"<html><body>404 Not Found</body></html>", ".jpg"
    if way == "wrong_extension":
        return _encode(crop, "PNG"), ".jpg"
    if way == "cmyk":
        return _encode(crop.convert("CMYK"), "JPEG"), ".jpg"
    if way == "sixteen_bit":
        grey = np.asarray(crop.convert("L")).astype(np.uint16) * 257
        return _encode(PIL.Image.fromarray(grey), "PNG"), ".png"
    if way == "animated":
        turned = crop.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
        return _encode(crop, "GIF", save_all=True, append_images=[turned], duration=100), ".gif"
    if way == "one_pixel":
        return _encode(crop.resize((1, 1)), "PNG") + hashlib.sha256(data).digest(), ".png"
    if way == "header_bomb":
        header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
        pieces = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
        return b"\x89PNG\r\n\x1a\n" + b"".join(pieces), ".png"
    return (last if way == "duplicate" else data), ".jpg"


def _write(output: Path, number: int, rows: list[Row]) -> None:
    """Write one shard of each."""
    with tarfile.open(output / "webdataset" / f"{number:05d}.tar", "w") as tar:

        def member(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        for row in rows:
            if row.way == "zip_slip":
                member(f"../../escape/{row.name}", row.data)
                continue
            member(row.name, row.data)
            if row.way == "bad_encoding":
                member(f"{row.key}.txt", row.text)
            else:
                member(f"{row.key}.json", json.dumps({"caption": row.text.decode(), "lang": row.lang}).encode())
    # a row of zip_slip has no bytes, but a path that leads out of the folder
    images = [
        {"bytes": None, "path": "../../../../../../etc/hostname"}
        if row.way == "zip_slip"
        else {"bytes": row.data, "path": row.name}
        for row in rows
    ]
    table = pa.table(
        {
            "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "caption": pa.array([row.text for row in rows], pa.binary()).view(pa.string()),
            "lang": pa.array([row.lang for row in rows]),
        }
    )
    pq.write_table(table, output / "parquet" / f"{number:05d}.parquet", row_group_size=250)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    arguments = parser.parse_args()
    print(make_hostile(arguments.pictures, arguments.output, arguments.count).ways)
