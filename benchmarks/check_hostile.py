"""Ingest 10,000 crops of real pictures of which 1 % are broken in twelve ways, as WebDataset and as Parquet, and check
every picture, text and reject against the truth. Exit code 1 when anything is lost, doubled or unexplained.

    python benchmarks/check_hostile.py [PICTURES] [--count 10000] [--keep FOLDER]

PICTURES is a folder of real pictures; Debian's tuxpaint-stamps-default unless given.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import panoglot
from tests.formats.hostile import Truth, make_hostile


def check(folder: Path, name: str, truth: Truth) -> dict[str, object]:
    """Ingest one flavour and compare."""
    source = folder / name
    started = time.perf_counter()
    for path in sorted(source.iterdir()):  # the floor: read everything once and hash it
        hashlib.sha256(path.read_bytes()).hexdigest()
    floor = time.perf_counter() - started
    started = time.perf_counter()
    panoglot.ingest(str(source), str(folder / f"{name}.pano"), quiet=True)
    seconds = time.perf_counter() - started
    data = panoglot.open(folder / f"{name}.pano")
    images = Counter(data.images.read(["image_id"])["image_id"].to_pylist())
    captions = Counter((r["image_id"], r["lang"], r["text"]) for r in data.captions.rows(["image_id", "lang", "text"]))
    rejects = Counter(row["reason"] for row in data.rejects.rows(["reason"]))
    expected = Counter(truth.rejects.values())
    if name == "parquet":
        expected["outside_folder"] = expected.pop("unsafe_path")
    problems = {
        "images lost": len(set(truth.images) - images.keys()),
        "images not asked for": len(images.keys() - set(truth.images)),
        "images doubled": sum(n - 1 for n in images.values()),
        "captions lost": len({tuple(c) for c in truth.captions} - captions.keys()),
        "captions not asked for": len(captions.keys() - {tuple(c) for c in truth.captions}),
        "captions doubled": sum(n - 1 for n in captions.values()),
        "rejects wrong": sum(((rejects - expected) + (expected - rejects)).values()),
    }
    print(
        f"{name}: {len(images):,} images, {sum(captions.values()):,} captions in {seconds:.1f} s (floor {floor:.2f} s)"
    )
    print(f"  rejects: {dict(sorted(rejects.items()))}")
    for problem, count in problems.items():
        if count:
            print(f"  WRONG: {problem}: {count}")
    return {
        "images": len(images),
        "rejects": sum(rejects.values()),
        "seconds": round(seconds, 2),
        "floor_seconds": round(floor, 3),
        "problems": sum(problems.values()),
    }


def main() -> int:
    """Make, ingest, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="?", default=Path("/usr/share/tuxpaint/stamps"))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="make everything in this new folder and keep it")
    arguments = parser.parse_args()
    if not arguments.pictures.is_dir():
        parser.error(f"there is no folder {arguments.pictures}; apt install tuxpaint-stamps-default, or name another")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        truth = make_hostile(arguments.pictures, folder, arguments.count)
        print(f"{arguments.count:,} crops of {arguments.pictures}, broken: {truth.ways}")
        results = {name: check(folder, name, truth) for name in ("webdataset", "parquet")}
    print(json.dumps({"benchmark": "check_hostile", "count": arguments.count, **results}))
    return 1 if any(result["problems"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
