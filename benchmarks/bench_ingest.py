"""Ingest: header checks and hashing against a plain read + SHA-256 loop, and memory against dataset size.

    python benchmarks/bench_ingest.py [--images 4000] [--size-kb 150]

Floor: reading every file and hashing it, one thread, nothing else. Ends in one JSON line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def make(folder: Path, count: int, kilobytes: int) -> None:
    """Write JPEGs of about `kilobytes`, each different, from one encoded picture with an added comment."""
    import io
    import os

    import numpy as np
    import PIL.Image

    rng = np.random.default_rng(0)
    side = 256
    while True:
        buffer = io.BytesIO()
        smooth = np.cumsum(rng.normal(size=(side, side, 3)), axis=0)
        pixels = ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        if buffer.tell() > kilobytes * 1024:
            break
        side = int(side * 1.3)
    body = buffer.getvalue()
    folder.mkdir(parents=True)
    for n in range(count):
        comment = os.urandom(16)
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        (folder / f"{n:06}.jpg").write_bytes(body[:2] + segment + body[2:])


def floor(folder: Path) -> float:
    """Seconds of CPU and wait for read + SHA-256."""
    start = time.perf_counter()
    for path in sorted(folder.iterdir()):
        hashlib.sha256(path.read_bytes()).hexdigest()
    return time.perf_counter() - start


def checks(folder: Path) -> float:
    """Seconds for what ingest does to every picture before it is stored."""
    from panoglot.formats import Sample, find_format, read_part
    from panoglot.pictures import read_header
    from panoglot.table import image_id

    start = time.perf_counter()
    for part in find_format(str(folder))[1]():
        for sample in read_part(part):
            assert isinstance(sample, Sample)
            read_header(sample.data)
            image_id(sample.data)
    return time.perf_counter() - start


def peak_of_ingest(folder: Path, output: Path) -> tuple[int, float]:
    """Peak resident MiB and seconds of the whole `panoglot ingest`."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )
    command = [sys.executable, "-m", "panoglot", "ingest", str(folder), "-o", str(output)]
    start = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    return int(run.stdout.split()[-1]), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--size-kb", type=int, default=150)
    parser.add_argument(
        "--memory", type=int, nargs=2, default=(1000, 20000), help="two dataset sizes for the memory test"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "a")
        make(folder, args.images, args.size_kb)
        floor(folder)  # warm the page cache
        pairs = [(floor(folder), checks(folder)) for _ in range(5)]
        ratios = sorted(low / high for low, high in pairs)
        plain, ours = min(a for a, _ in pairs), min(b for _, b in pairs)
        print(f"read + SHA-256 (floor): {args.images / plain:,.0f} images/s")
        print(f"panoglot read, header check, hash: {args.images / ours:,.0f} images/s")
        print(f"share of the floor: {ratios[2]:.2f} (median of 5 pairs; the bar is 0.70)")
        peaks = {}
        for size in args.memory:
            small = Path(scratch, f"m{size}")
            make(small, size, 30)
            peaks[size], seconds = peak_of_ingest(small, Path(scratch, f"m{size}.pano"))
            print(f"whole ingest of {size:,} images of 30 kB: peak {peaks[size]} MiB, {size / seconds:,.0f} images/s")
    few, many = (peaks[size] for size in args.memory)
    print(f"peak memory, {args.memory[1]:,} against {args.memory[0]:,} images: {many / few:.2f} (the bar is 1.20)")
    print(
        json.dumps(
            {"bench": "ingest", "share_of_floor": round(ratios[2], 3), "peak_mib": peaks, "ratio": round(many / few, 3)}
        )
    )


if __name__ == "__main__":
    main()
