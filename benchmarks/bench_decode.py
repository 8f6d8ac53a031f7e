"""What safety costs on ordinary pictures: the header checks and the leaving out of metadata, beside plain decoding.

    python benchmarks/bench_decode.py [--width 1632] [--height 1224] [--repeat 15]

Photographs are synthetic (smooth shapes and noise), of 2 megapixels unless said: baseline and progressive JPEG with the
EXIF, profile and preview of a camera, PNG, WebP; and what is decoded apart: TIFF, AVIF.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import numpy as np
import PIL.Image

from panoglot.pictures import Image, read_header
from panoglot.pictures import _image as module
from panoglot.pictures._decoder import to_rgb
from panoglot.pictures._parse import parse


def photographs(width: int, height: int, seed: int = 0) -> PIL.Image.Image:
    """A picture with the entropy of a photograph."""
    rng = np.random.default_rng(seed)
    small = PIL.Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), PIL.Image.Resampling.BICUBIC), np.int16)
    return PIL.Image.fromarray(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8))


def encodings(picture: PIL.Image.Image) -> dict[str, bytes]:
    """The picture in every format."""
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 8000
    profile = np.random.default_rng(1).bytes(3000)
    options: dict[str, tuple[str, dict[str, Any]]] = {
        "jpeg": ("JPEG", {"quality": 90, "exif": exif, "icc_profile": profile}),
        "jpeg progressive": ("JPEG", {"quality": 90, "progressive": True, "exif": exif}),
        "png": ("PNG", {"icc_profile": profile}),
        "webp": ("WEBP", {"quality": 85}),
        "tiff": ("TIFF", {"compression": "tiff_lzw"}),
        "avif": ("AVIF", {"quality": 80}),
    }
    found = {}
    for name, (kind, more) in options.items():
        buffer = io.BytesIO()
        picture.save(buffer, kind, **more)
        found[name] = buffer.getvalue()
    return found


def seconds(do: Callable[[], Any], repeat: int) -> float:
    """The fastest of a few runs."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        do()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1632)
    parser.add_argument("--height", type=int, default=1224)
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args()
    results = {}
    print(f"{'':18} {'bytes':>10} {'walk ms':>8} {'lean ms':>8} {'decode ms':>10} {'cost':>7}  small: decode ms, cost")
    for name, data in encodings(photographs(arguments.width, arguments.height)).items():
        parsed = parse(data)
        apart = parsed is None
        row: dict[str, float] = {"bytes": len(data)}
        Image(data).pil()  # warm: the process of rare formats is there
        for label, side in (("whole", None), ("small", 224)):
            plain = seconds(lambda data=data, side=side: to_rgb(data, 1, side), arguments.repeat)  # type: ignore[misc]
            if apart:
                header = read_header(data)
                run = lambda data=data, side=side, header=header: module._pixels(data, header, None, side)  # noqa: E731
                extra = seconds(run, arguments.repeat) - plain  # type: ignore[arg-type]
            else:
                walk = seconds(lambda data=data: parse(data), arguments.repeat)  # type: ignore[misc]
                lean = seconds(lambda data=data, parsed=parsed: parsed.lean(data), arguments.repeat)  # type: ignore
                extra = walk + lean
                row["walk_ms"], row["lean_ms"] = walk * 1e3, lean * 1e3
            row[f"{label}_ms"], row[f"{label}_cost"] = plain * 1e3, extra / plain
        walk, lean = row.get("walk_ms", float("nan")), row.get("lean_ms", float("nan"))
        print(
            f"{name:18} {len(data):10,} {walk:8.3f} {lean:8.3f} {row['whole_ms']:10.1f} {row['whole_cost']:7.1%}"
            f"  {row['small_ms']:8.1f} {row['small_cost']:7.1%}" + ("  (decoded apart)" if apart else "")
        )
        results[name] = {key: round(value, 4) for key, value in row.items()}
    print(json.dumps({"benchmark": "bench_decode", "pixels": arguments.width * arguments.height, **results}))


if __name__ == "__main__":
    main()
