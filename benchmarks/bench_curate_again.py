"""Curation again, with nothing or little to do: seconds and CPU seconds of a dataset that is curated already.

    python benchmarks/bench_curate_again.py [--pictures 100000] [--new 10]

A caption a picture, hashes as if they had been made (the pictures have no pixels). Every run is a process of its own,
as a user's is: the first one judges everything; the second judges nothing and goes through the tables; the third finds
that they have not changed; then some captions are added.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = (
    "a the red blue small old dog cat horse child woman man street beach house table window tree boat train runs "
    "stands sleeps sits jumps on under near behind with two three flowers green grass water bread and an apple"
).split()


def captions(rng, ids, start: int):
    rows = []
    for n, image in enumerate(ids, start):
        text = " ".join(rng.choice(WORDS, int(rng.integers(6, 16))))
        row = {"caption_id": f"{n:032x}", "image_id": image, "kind": "human", "lang": "en", "recipe": "human"}
        rows.append({**row, "text": f"{text} {n}"})
    return rows


def fill(path: Path, count: int):
    """Pictures without pixels, with hashes and the ledger of those who made them."""
    import numpy as np

    from panoglot.curation import pdq_stage
    from panoglot.table import create_dataset

    rng = np.random.default_rng(0)
    data = create_dataset(path)
    ids = [f"{a:016x}{b:016x}" for a, b in rng.integers(0, 2**63, (count, 2)).tolist()]
    for start in range(0, count, 50_000):
        some = ids[start : start + 50_000]
        size = {"width": 640, "height": 480, "format": "jpeg", "size": 1}
        data.images.insert([{"image_id": key, "data": b"x", "uri": f"{key}.jpg", **size} for key in some])
        codes = rng.integers(0, 256, (len(some), 32), dtype=np.uint8)
        data.hashes.insert([{"image_id": key, "pdq": c.tobytes(), "quality": 100} for key, c in zip(some, codes)])
        data.work(pdq_stage().id).insert([{"item": key, "outputs": 1} for key in some])
        data.captions.insert(captions(rng, some, start))
    return data, ids, rng


CODE = """
import json, resource, sys, time
start = time.perf_counter()
from panoglot.curation import curate
result = curate(sys.argv[1], quiet=True)
used = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": time.perf_counter() - start, "cpu": used, "mib": peak, "judged": result.judged,
                  "changed": result.changed, "kept": result.captions_kept, "langid": "py3langid" in sys.modules}))
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pictures", type=int, default=100_000)
    options.add_argument("--new", type=int, default=10)
    args = options.parse_args()
    report = {"bench": "curate_again", "pictures": args.pictures}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        data, ids, rng = fill(Path(folder) / "x.pano", args.pictures)
        print(f"{args.pictures:,} pictures with a caption each, filled in {time.perf_counter() - start:.0f} s")
        for name in ("first", "again", "unchanged", f"{args.new} new"):
            if name.endswith("new"):
                data.captions.insert(captions(rng, ids[: args.new], args.pictures))
            command = [sys.executable, "-c", CODE, str(data.path)]
            done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            report[name] = {key: round(v, 2) if isinstance(v, float) else v for key, v in done.items()}
            identified = "read" if done["langid"] else "not read"
            print(
                f"  {name:10} {done['seconds']:7.2f} s  {done['cpu']:7.2f} CPU-s  {done['mib']:5.0f} MiB  "
                f"judged {done['judged']:,}, changed {done['changed']:,}, language model {identified}"
            )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
