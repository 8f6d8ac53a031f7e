"""Engine overhead: the runner doing model work against hand-written multiprocessing doing the very same work.

    python benchmarks/bench_build.py [--images 600] [--rounds 3]

The work is EfficientNet-Lite2 on JPEGs (decode small, resize, one thread a process). Floor: a process pool that reads
the files and keeps the results in memory: no resume, no rejects, no tables. Ends in one JSON line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL = "embedded:conse"


def make(folder: Path, count: int) -> None:
    """Write photographs-like JPEGs of 960 x 720."""
    import numpy as np
    import PIL.Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    big = np.cumsum(np.cumsum(rng.normal(size=(1500, 2000, 3)), 0), 1)
    big = ((big - big.min((0, 1))) / np.ptp(big, (0, 1)) * 255).astype(np.uint8)
    for n in range(count):
        y, x = rng.integers(0, 780), rng.integers(0, 1040)
        crop = big[y : y + 720, x : x + 960] ^ np.uint8(n % 251)
        PIL.Image.fromarray(crop).save(folder / f"{n:05}.jpg", quality=88)


def _encode(paths: list[str]) -> list[bytes]:
    global _model
    from panoglot.pictures import Image

    if "_model" not in globals():
        from panoglot.providers import load_model

        _model = load_model(MODEL)
    size = _model.batch_size
    out: list[bytes] = []
    for start in range(0, len(paths), size):
        vectors = _model.encode_images([Image.from_path(path) for path in paths[start : start + size]])
        out += [vector.tobytes() for vector in vectors]
    return out


def straight(folder: Path) -> None:
    """The floor: one pool, no engine."""
    paths = [str(path) for path in sorted(folder.iterdir())]
    chunks = [paths[start : start + 64] for start in range(0, len(paths), 64)]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        done = sum(len(part) for part in pool.map(_encode, chunks, chunksize=1))
    assert done == len(paths)


def engine(dataset: Path) -> None:
    """Ours: the stage of the runner, from the stored pictures to committed vectors."""
    from panoglot.running import encode_stage, run_stage
    from panoglot.table import open_dataset

    data = open_dataset(dataset)
    result = run_stage(data, encode_stage(data, MODEL), data.start_run({}, {}), quiet=True)
    assert result.done == len(data.images), result


def timed(*arguments: str) -> tuple[float, float]:
    """Wall and CPU seconds of this script run as `arguments`, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, __file__, *arguments], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--straight", type=Path)
    parser.add_argument("--engine", type=Path)
    args = parser.parse_args()
    if args.straight or args.engine:
        straight(args.straight) if args.straight else engine(args.engine)
        return
    import shutil

    import panoglot

    with tempfile.TemporaryDirectory() as scratch:
        folder, dataset = Path(scratch, "photos"), Path(scratch, "photos.pano")
        make(folder, args.images)
        panoglot.ingest(str(folder), str(dataset), quiet=True)
        rows = []
        for _ in range(args.rounds):
            wall, cpu = timed("--straight", str(folder))
            copy = Path(scratch, "run.pano")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(dataset, copy)
            our_wall, our_cpu = timed("--engine", str(copy))
            rows.append((our_wall / wall, our_cpu / cpu))
            print(f"straight {wall:.1f} s wall {cpu:.1f} s CPU   engine {our_wall:.1f} s wall {our_cpu:.1f} s CPU")
    walls, cpus = (sorted(values) for values in zip(*rows))
    middle = len(rows) // 2
    print(f"engine against straight (median): wall x{walls[middle]:.2f}, CPU x{cpus[middle]:.2f} (the bar: 1.00, 1.10)")
    result = {"bench": "build", "images": args.images, "wall": round(walls[middle], 3), "cpu": round(cpus[middle], 3)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
