"""Many captions through `curate` and through every export: CPU seconds, MB/s beside a plain write, peak memory.

    python benchmarks/bench_exchange.py [--captions 100000] [--each 20] [--only curate webdataset …]

Small JPEGs with `--each` captions each, in ten languages and six scripts, half given and half written by a model. Every
step is a process of its own, as a user's is. The floor of an export is the plain write of the very same: the members of
its tars by `tarfile`, its tables by pyarrow or Lance, other files by `write`; reading them for that is not counted, and
neither is reading the dataset. Beside it, for a tar and for Parquet, stands the program that somebody would write by
hand for one dataset: it reads the dataset, holds all of it in memory and checks nothing. `--twice` fills a dataset of
twice the size too: what a peak grows by for as many captions again. Ends in one JSON line.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench_chain import command, size_of, used

FORMATS = (
    "webdataset parquet jsonl hf coco imagefolder llava messages kohya energon mds csv lance croissant sidecars"
).split()
WORDS = {
    "en": "a red dog cat sleeps under old tree near water two children play on grass",
    "de": "ein roter Hund Katze schläft unter altem Baum am Wasser zwei Kinder spielen auf Gras",
    "sw": "mbwa mwekundu paka analala chini ya mti mzee karibu na maji watoto wawili wanacheza nyasi",
    "ar": "كلب أحمر قطة تنام تحت شجرة قديمة قرب الماء طفلان يلعبان على العشب",
    "hi": "एक लाल कुत्ता बिल्ली सोती है पुराने पेड़ के नीचे पानी के पास दो बच्चे घास पर खेलते हैं",
    "th": "สุนัข สีแดง แมว นอน ใต้ ต้นไม้ เก่า ใกล้ น้ำ เด็ก สองคน เล่น บน หญ้า",
    "zh-Hans": "一只 红色 的 狗 猫 睡 在 老树 下 水边 两个 孩子 在 草地 上 玩",
    "ja": "赤い 犬 猫 が 古い 木 の 下 で 眠る 水 の そば 二人 の 子供 が 草 の 上 で 遊ぶ",
    "ru": "рыжая собака кошка спит под старым деревом у воды двое детей играют на траве",
    "he": "כלב אדום חתול ישן מתחת לעץ ישן ליד המים שני ילדים משחקים על הדשא",
}


def fill(path: Path, captions: int, each: int) -> None:
    """A dataset of JPEGs of 128 x 96 with random pixels, and their captions, as a build would leave it."""
    import lance
    import numpy as np
    import PIL.Image
    import pyarrow as pa

    from panoglot.table import create_dataset

    rng, langs = np.random.default_rng(0), list(WORDS)
    words = {lang: text.split() for lang, text in WORDS.items()}
    data = create_dataset(path)
    tables = {"images": data.images, "captions": data.captions}
    schemas = {name: table.ensure().schema for name, table in tables.items()}
    for start in range(0, captions, 20_000):
        rows: dict[str, list[dict[str, Any]]] = {"images": [], "captions": []}
        for n in range(start // each, min(captions, start + 20_000) // each):
            small = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            PIL.Image.fromarray(small).resize((128, 96), PIL.Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
            body = buffer.getvalue()
            key = hashlib.sha256(body).hexdigest()[:32]
            size = {"width": 128, "height": 96, "format": "jpeg", "size": len(body)}
            rows["images"].append({"image_id": key, "data": body, "uri": f"photos/{n}.jpg", "context": "{}", **size})
            picks = rng.integers(0, 13, (each, 9)).tolist()
            for m in range(each):
                lang = langs[m % len(langs)]
                text = " ".join(words[lang][w % len(words[lang])] for w in picks[m]) + f" {n} {m}"
                given = m < each // 2
                rows["captions"].append(
                    {
                        "caption_id": hashlib.sha256(f"{key} {m}".encode()).hexdigest()[:32],
                        "image_id": key,
                        "text": text,
                        "lang": lang,
                        "kind": "human" if given else "short",
                        "recipe": "human" if given else "describe/1",
                        "model": "" if given else "hf:some/model",
                        "scores": [] if given else [("agreement", 0.25 + m / 100)],
                        "parents": [],
                    }
                )
        for name, some in rows.items():
            uri = tables[name].store.table(name).uri
            lance.write_dataset(pa.Table.from_pylist(some, schema=schemas[name]), uri, mode="append")
    data.tidy()


# -- floors ------------------------------------------------------------------------------------------------------------


def timed(write: Callable[[], Any]) -> float:
    """CPU seconds of a write."""
    before = time.process_time()
    write()
    return time.process_time() - before


def plain_tar(source: Path, target: Path) -> float:
    """The members of a tar by `tarfile`."""
    with tarfile.open(source) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]

    def write() -> None:
        with tarfile.open(target, "w") as out:
            for name, body in members:
                facts = tarfile.TarInfo(name)
                facts.size = len(body)
                out.addfile(facts, io.BytesIO(body))

    return timed(write)


def plain_parquet(source: Path, target: Path) -> float:
    """A Parquet file by pyarrow, its row groups from memory."""
    import pyarrow.parquet as pq

    file, used = pq.ParquetFile(source), 0.0
    column = file.metadata.row_group(0).column(0)
    writer = pq.ParquetWriter(target, file.schema_arrow, compression=column.compression)
    for n in range(file.num_row_groups):
        table = file.read_row_group(n)
        used += timed(lambda: writer.write_table(table))  # noqa: B023
    return used + timed(writer.close)


def plain_arrow(source: Path, target: Path) -> float:
    """An Arrow stream by pyarrow."""
    import pyarrow as pa

    with pa.ipc.open_stream(str(source)) as file, pa.ipc.new_stream(str(target), file.schema) as out:
        return sum(timed(lambda: out.write_batch(batch)) for batch in file)  # noqa: B023


def plain_lance(source: Path, target: Path) -> float:
    """A table by Lance, from batches in memory."""
    import lance

    used = 0.0
    for n, batch in enumerate(lance.dataset(str(source)).to_batches(batch_size=10_000)):
        used += timed(lambda: lance.write_dataset(batch, str(target), mode="append" if n else "create"))  # noqa: B023
    return used


def parts(folder: Path) -> Iterator[Path]:
    """All files; a table of Lance is one."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.suffix != ".lance":
            yield from parts(path)
        else:
            yield path


def floor(folder: Path, scratch: Path) -> float:
    """CPU seconds of writing what lies in a folder once more, plainly."""
    ways = {".tar": plain_tar, ".parquet": plain_parquet, ".arrow": plain_arrow, ".lance": plain_lance}
    used = 0.0
    for path in parts(folder):
        target = scratch / path.relative_to(folder)
        if not target.parent.is_dir():
            used += timed(lambda: target.parent.mkdir(parents=True, exist_ok=True))  # noqa: B023
        if path.suffix in ways:
            used += ways[path.suffix](path, target)
        else:
            body = path.read_bytes()
            used += timed(lambda: target.write_bytes(body))  # noqa: B023
    return used


#: What programs by hand begin with: both tables read whole.
_READ = """
import io, json, os, sys, tarfile
import lance
data, out = sys.argv[1:]
found = {}
for row in lance.dataset(f"{data}/captions.lance").to_table().to_pylist():
    found.setdefault(row["image_id"], []).append(row)
pictures = lance.dataset(f"{data}/images.lance").to_table(columns=["image_id", "data", "width", "height"]).to_pylist()
def picture(row):
    path = f"images/{row['image_id'][:2]}/{row['image_id']}.jpg"
    os.makedirs(os.path.dirname(f"{out}/{path}"), exist_ok=True)
    with open(f"{out}/{path}", "wb") as file:
        file.write(row.pop("data"))
    return path
"""
#: The same with pictures as files and a file of rows of JSON; `ROW` is what a row is made of.
_ROWS = (
    _READ
    + """
os.mkdir(out)
with open(f"{out}/rows.json", "w") as file:
    for row in sorted(pictures, key=lambda row: row["image_id"]):
        path, captions = picture(row), found[row["image_id"]]
        for one in captions if EACH else captions[:1]:
            file.write(json.dumps(ROW, ensure_ascii=False) + chr(10))
"""
)
_ASKED = '"<image>Describe this picture in " + one["lang"]'


def rows_by_hand(row: str, each: bool = False) -> str:
    """A program that writes pictures as files, and a row of JSON a picture, or `each` caption."""
    return _ROWS.replace("EACH", str(each)).replace("ROW", row)


#: What somebody would write by hand for one dataset: a tar of picture, text and JSON a picture, files and rows, …
BY_HAND = {
    "jsonl": rows_by_hand('{**row, "file_name": path, "captions": captions}'),
    "imagefolder": rows_by_hand('{"file_name": path, "caption": one["text"]}'),
    "coco": rows_by_hand('[{**row, "file_name": path}, captions]'),
    "llava": rows_by_hand(
        f"""{{"id": row["image_id"], "image": path, "conversations": [{{"from": "human", "value": {_ASKED}}},
        {{"from": "gpt", "value": one["text"]}}]}}""",
        each=True,
    ),
    "messages": rows_by_hand(
        f"""{{"images": [path], "messages": [{{"role": "user", "content": {_ASKED}}},
        {{"role": "assistant", "content": one["text"]}}]}}""",
        each=True,
    ),
    "hf": """
import sys
import datasets, lance
data, out = sys.argv[1:]
found = {}
for row in lance.dataset(f"{data}/captions.lance").to_table().to_pylist():
    scores = [{"name": name, "value": value} for name, value in row["scores"]]
    found.setdefault(row.pop("image_id"), []).append({**row, "scores": scores})
pictures = lance.dataset(f"{data}/images.lance").to_table(columns=["image_id", "data", "width", "height"]).to_pylist()
rows = [{**row, "captions": found[row["image_id"]]} for row in pictures]
datasets.Dataset.from_list(rows).save_to_disk(out)
""",
    "webdataset": _READ
    + """
with tarfile.open(out, "w") as tar:
    for row in sorted(pictures, key=lambda row: row["image_id"]):
        key, body, captions = row["image_id"], row.pop("data"), found[row["image_id"]]
        text = json.dumps({**row, "captions": captions}, ensure_ascii=False).encode()
        for name, data in (("jpg", body), ("txt", captions[0]["text"].encode()), ("json", text)):
            facts = tarfile.TarInfo(f"{key}.{name}")
            facts.size = len(data)
            tar.addfile(facts, io.BytesIO(data))
""",
    "parquet": """
import sys
import lance, pyarrow.parquet
data, out = sys.argv[1:]
captions = lance.dataset(f"{data}/captions.lance").to_table().sort_by("image_id")
names = [name for name in captions.column_names if name != "image_id"]
found = {}
for row in captions.to_pylist():
    found.setdefault(row.pop("image_id"), []).append(row)
pictures = lance.dataset(f"{data}/images.lance").to_table(columns=["image_id", "data", "width", "height"])
pictures = pictures.sort_by("image_id")
kind = pyarrow.list_(pyarrow.struct([captions.schema.field(name) for name in names]))
lists = pyarrow.array([found[key] for key in pictures["image_id"].to_pylist()], kind)
pyarrow.parquet.write_table(pictures.append_column("captions", lists), out, compression="zstd", row_group_size=1000)
""",
}


# -- the steps ---------------------------------------------------------------------------------------------------------


def exported(data: Path, to: str, scratch: Path) -> dict[str, Any]:
    """An export and its floor."""
    out = scratch / "out"
    found: dict[str, Any] = command("export", data, out, "--to", to)
    found["mb"] = round(size_of(out) / 1e6, 1)
    found["files"] = sum(path.is_file() for path in out.rglob("*"))
    found["floor_cpu"] = max(0.01, round(floor(out, scratch / "floor"), 2))
    found["mb_a_second"] = round(found["mb"] / found["cpu"], 1)
    found["floor_mb_a_second"] = round(found["mb"] / found["floor_cpu"], 1)
    found["share"] = round(found["floor_cpu"] / found["cpu"], 3)
    if to in BY_HAND:
        found["by_hand"] = used("-c", BY_HAND[to], data, scratch / "by_hand")
        made = size_of(scratch / "by_hand") if (scratch / "by_hand").is_dir() else (scratch / "by_hand").stat().st_size
        found["by_hand_mb_a_second"] = round(made / 1e6 / found["by_hand"]["cpu"], 1)
        found["share_of_by_hand"] = round(found["mb_a_second"] / found["by_hand_mb_a_second"], 3)
    for name in ("out", "floor", "by_hand"):
        shutil.rmtree(scratch / name, ignore_errors=True)
    (scratch / "by_hand").unlink(missing_ok=True)
    print(f"  {to:12} {json.dumps(found)}", file=sys.stderr)
    return found


def measured(scratch: Path, captions: int, each: int, steps: list[str]) -> dict[str, Any]:
    """Everything at one size."""
    data = scratch / "x.pano"
    started = time.perf_counter()
    fill(data, captions, each)
    found: dict[str, Any] = {"captions": captions, "pictures": captions // each, "mb": round(size_of(data) / 1e6)}
    print(f"{captions:,} captions filled in {time.perf_counter() - started:.0f} s: {found}", file=sys.stderr)
    for name in ("curate", "curate_again") if "curate" in steps else ():
        found[name] = command("curate", data)
        print(f"  {name:12} {json.dumps(found[name])}", file=sys.stderr)
    found["export"] = {to: exported(data, to, scratch) for to in steps if to != "curate"}
    shutil.rmtree(data)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=20, help="captions of a picture")
    parser.add_argument("--only", nargs="*", default=["curate", *FORMATS], choices=["curate", *FORMATS])
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--scratch", help="where the datasets and exports lie for a while")
    args = parser.parse_args()
    result: dict[str, Any] = {"bench": "exchange"}
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        for captions in (args.captions, *([2 * args.captions] if args.twice else [])):
            result[f"{captions}"] = measured(Path(folder), captions, args.each, args.only)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
