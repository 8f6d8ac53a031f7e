"""Curation of 1280 x 960 JPEGs: size, aspect and near-duplicates, in CPU milliseconds a picture.

    python benchmarks/bench_curate.py [--count 400] [--pictures FOLDER]

The floor is the plain decoding at 1/4 of the size, which every picture needs once. The pictures are crops of real
photographs; a quarter of them are copies of others (another quality, brighter) and must be found, nothing else.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
import simplejpeg
from _photos import crops, jpeg, photographs

from panoglot.curation import aspect, curate, pdq, size
from panoglot.pictures import Image
from panoglot.table import create_dataset, image_id
from panoglot.vectors import near_pairs

WIDTH, HEIGHT = 1280, 960


def cpu() -> float:
    """CPU seconds of this process and its finished children."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def least(what, times: int, count: int) -> float:
    """CPU milliseconds an item: the least of several rounds, which other work on the machine disturbs least."""
    found = []
    for _ in range(times):
        start = time.process_time()
        what()
        found.append(time.process_time() - start)
    return min(found) / count * 1e3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=400)
    options.add_argument("--pictures", help="folder of photographs")
    options.add_argument("--quality", type=int, default=88)
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()

    originals = args.count * 3 // 4
    pictures = []
    for picture in crops(photographs(args.pictures), 2 * args.count, WIDTH, HEIGHT):
        # crops of plain sky or wall have no structure to compare: PDQ says so by its quality
        if len(pictures) < originals and pdq(Image(jpeg(picture, args.quality)))[1] >= 75:
            pictures.append(picture)
    datas = [jpeg(picture, args.quality) for picture in pictures]
    for n in range(args.count - originals):
        copy = PIL.Image.fromarray(np.clip(np.asarray(pictures[n]) * 1.04, 0, 255).astype(np.uint8))
        datas.append(jpeg(copy, args.quality - 15))
    del pictures
    kilobytes = sum(map(len, datas)) / len(datas) / 1000

    def decode() -> None:
        for data in datas:
            simplejpeg.decode_jpeg(data, colorspace="GRAY", fastdct=True, min_height=128, min_width=128, min_factor=1)

    def judge() -> None:
        codes = []
        for data in datas:
            image = Image(data)  # hashes the bytes and reads the header, as ingest does
            facts = {"width": image.width, "height": image.height}
            assert size(facts) is None
            assert aspect(facts) is None
            codes.append(np.frombuffer(pdq(image)[0], np.uint8))
        for _ in near_pairs(np.stack(codes), 31):
            pass

    floor = least(decode, args.rounds, len(datas))
    alone = least(judge, args.rounds, len(datas))

    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {"image_id": image_id(d), "data": d, "uri": f"{n}.jpg", "width": WIDTH, "height": HEIGHT, "format": "jpeg"}
            for n, d in enumerate(datas)
        ]
        steps = ["size", "aspect", "near_duplicate"]
        costs = []
        for name in ("first", "second"):  # imports and other costs of the first time apart
            dataset = create_dataset(Path(folder) / f"{name}.pano")
            dataset.images.insert(rows)
            start, wall = cpu(), time.perf_counter()
            result = curate(dataset, steps=steps, quiet=True)
            costs.append((cpu() - start) / len(datas) * 1e3)
            wall = time.perf_counter() - wall
        cold, whole = costs
        start = cpu()
        again = curate(dataset, steps=steps, quiet=True)
        repeat = (cpu() - start) / len(datas) * 1e3

    expected = args.count - originals
    found = result.images_dropped["duplicate_of"]
    print(f"{len(datas)} JPEGs {WIDTH} x {HEIGHT}, {kilobytes:.0f} kB each; CPU-ms a picture")
    print(f"  floor: decode at 1/4         {floor:6.2f}")
    print(f"  size, aspect, PDQ, search    {alone:6.2f}")
    print(f"  curate() on a dataset        {whole:6.2f}   ({len(datas) / wall:.0f} pictures/s)")
    print(f"    the first in a process     {cold:6.2f}")
    print(f"  curate() again               {repeat:6.2f}   (hashes are kept; changed {again.changed})")
    print(f"  copies found: {found} of {expected}")
    report = {
        "bench": "curate",
        "pictures": len(datas),
        "kilobytes": round(kilobytes),
        "floor_decode_ms": round(floor, 3),
        "filters_ms": round(alone, 3),
        "curate_ms": round(whole, 3),
        "curate_first_ms": round(cold, 3),
        "curate_again_ms": round(repeat, 3),
        "copies": expected,
        "found": found,
        "target_ms": 2.5,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
