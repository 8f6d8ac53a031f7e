"""The filters that look at a whole dataset: CPU time a caption or picture, and whether memory grows with the rows.

    python benchmarks/bench_filters.py [--captions 100000] [--vectors 100000] [--dim 256]

Synthetic captions (words as frequent as in real text, six scripts), four an image, with a score; and unit vectors. The
floor of the text filters is reading ids, texts and scores from the table and splitting the texts at white space; that
of the clusters is one product of all vectors with all centres. Every size runs in a process of its own; peak memory is
shown beside that of four times as many captions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = {
    "words": [("words", {"minimum": 3, "maximum": 20})],
    "rare_words": [("rare_words", {"top_n": 20_000})],
    "common_text": ["common_text"],
    "top_score": [("top_score", {"name": "reward", "share": 0.119, "calibrate": True})],
    "top_score per lang": [("top_score", {"name": "reward", "share": 0.119, "per": ["lang"]})],
    "best_caption": [("best_caption", {"name": "reward"})],
}


def fill(path: Path, captions: int, vectors: int, dim: int):
    """A dataset whose images are rows without pixels."""
    import numpy as np
    import pyarrow as pa

    from panoglot.table import create_dataset, vector_id

    rng = np.random.default_rng(0)
    data = create_dataset(path)
    letters = ["abcdefgh", "абвгдежз", "ابتثجحخد", "कखगघचछजझ", "กขคงจฉชซ", "一丁七万丈三上下"]
    langs = ["en", "ru", "ar", "hi", "th", "zh"]
    vocabulary = [["".join(rng.choice(list(some), rng.integers(2, 8))) for _ in range(20_000)] for some in letters]
    images = max(captions // 4, vectors)
    ids = [f"{a:016x}{b:016x}" for a, b in rng.integers(0, 2**63, (images, 2)).tolist()]
    for start in range(0, images, 50_000):
        some = ids[start : start + 50_000]
        data.images.insert(
            [{"image_id": key, "data": b"", "width": 640, "height": 480, "format": "jpeg"} for key in some]
        )
    for start in range(0, captions, 50_000):
        rows = []
        for n in range(start, min(captions, start + 50_000)):
            lang = n % 6
            words = np.minimum(rng.zipf(1.3, int(rng.integers(2, 22))), 20_000) - 1
            row = {"caption_id": f"{int(rng.integers(2**62)):016x}{n:016x}", "image_id": ids[n // 4], "kind": "alt"}
            text = ("" if lang > 3 else " ").join(vocabulary[lang][word] for word in words)
            rows.append({**row, "text": text, "lang": langs[lang], "scores": {"reward": float(rng.normal())}})
        data.captions.insert(rows)
    if vectors:
        table = data.vectors("e", dim)
        centres = rng.normal(size=(500, dim))
        for start in range(0, vectors, 20_000):
            some = ids[start : min(vectors, start + 20_000)]
            raw = centres[rng.integers(0, 500, len(some))] + 0.5 * rng.normal(size=(len(some), dim))
            raw /= np.linalg.norm(raw, axis=1, keepdims=True)
            column = pa.FixedSizeListArray.from_arrays(pa.array(raw.astype(np.float16).ravel()), dim)
            columns = [
                pa.array([vector_id(key, "e") for key in some]),
                pa.array(some),
                pa.array(["image"] * len(some)),
                pa.nulls(len(some), pa.string()),
                column,
                pa.array([""] * len(some)),
            ]
            table.insert(pa.Table.from_arrays(columns, schema=table.schema))
    return data


def floor(data) -> float:
    """CPU seconds of reading what the text filters read, and splitting."""
    start = time.process_time()
    for batch in data.captions.batches(["caption_id", "image_id", "text", "scores"], size=8192):
        for text in batch["text"].to_pylist():
            text.split()
    return time.process_time() - start


def peak() -> float:
    """Most memory of this process so far, MiB (`ru_maxrss` would count the process that started it)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def one(path: str, captions: int, vectors: int, dim: int, clusters: int) -> None:
    """Measure one size on a filled dataset; prints JSON."""
    import numpy as np

    from panoglot.curation import curate
    from panoglot.table import open_dataset

    data = open_dataset(path)
    found: dict[str, float] = {"floor": floor(data) / captions * 1e6}
    curate(data, steps=["words"], dry_run=True)  # imports apart
    for name, steps in STEPS.items():
        start = time.process_time()
        curate(data, steps=steps, dry_run=True, quiet=True)
        found[name] = (time.process_time() - start) / captions * 1e6
    memory = peak()
    result = {"captions": captions, "us": found, "texts_mib": memory}
    if vectors:
        start = time.process_time()
        curate(data, steps=[("every_nth", {"clusters": clusters, "sample": 50_000})], dry_run=True, quiet=True)
        result["every_nth_us"] = (time.process_time() - start) / vectors * 1e6
        raw = np.random.default_rng(0).normal(size=(10_000, dim)).astype(np.float32)
        start = time.process_time()
        np.argmax(raw @ raw[:clusters].T, axis=1)
        result["every_nth_floor_us"] = (time.process_time() - start) / 10_000 * 1e6
        result["all_mib"] = peak()
    print(json.dumps(result))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--captions", type=int, default=100_000)
    options.add_argument("--vectors", type=int, default=100_000)
    options.add_argument("--dim", type=int, default=256)
    options.add_argument("--clusters", type=int, default=1000)
    options.add_argument("--one", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.one:
        one(args.one, args.captions, args.vectors, args.dim, args.clusters)
        return
    results = []
    for times in (1, 4):
        with tempfile.TemporaryDirectory() as folder:
            count, vectors = args.captions * times, args.vectors if times == 1 else 0
            fill(Path(folder) / "x.pano", count, vectors, args.dim)
            command = [sys.executable, __file__, "--one", f"{folder}/x.pano", "--captions", str(count)]
            more = ["--vectors", str(vectors), "--dim", str(args.dim), "--clusters", str(args.clusters)]
            done = subprocess.run([*command, *more], check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    small, large = results
    print(f"CPU microseconds a caption    {small['captions']:>10,} {large['captions']:>10,} captions")
    for name in small["us"]:
        print(f"  {name:26} {small['us'][name]:12.1f} {large['us'][name]:10.1f}")
    print(f"peak memory, MiB              {small['texts_mib']:10.0f} {large['texts_mib']:10.0f}")
    if args.vectors:
        print(f"every_nth, {args.vectors:,} vectors of {args.dim}, {args.clusters} clusters, 50,000 in the k-means:")
        print(f"  floor {small['every_nth_floor_us']:.1f}, every_nth {small['every_nth_us']:.1f} us a picture")
    print(json.dumps({"bench": "filters", "small": small, "large": large}))


if __name__ == "__main__":
    main()
