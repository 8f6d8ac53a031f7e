"""Loading pictures while the model computes, against loading them when they are asked for.

    python benchmarks/bench_loading.py FOLDER [--steps 12] [--batch 32] [--size 224] [--workers 0 1 2 4]

FOLDER has pictures in any depth; they are taken as they are. The floor of a step is the longer of its two halves,
loading alone and computing alone, both measured here. The figure is the best of some rounds.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from panoglot.networks._records import Record, Text
from panoglot.networks._row import load_row
from panoglot.training import Trainer


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(p for p in args.folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        parser.error(f"{args.folder} has no pictures")
    files = (files * (args.steps * args.batch // len(files) + 1))[: args.steps * args.batch]
    records = [Record(f"{i}", str(p), [Text(p.stem, "raw", "en")]) for i, p in enumerate(files)]
    tower = {"kind": "vit", "patch": 32, "width": 256, "layers": 4, "heads": 4}
    row = load_row("clip", "small", image=tower, size=args.size, batch=args.batch, epochs=1)

    def seconds(workers: int) -> float:
        trainer = Trainer(row, records, workers=workers)
        begin = time.perf_counter()
        trainer.fit()
        return (time.perf_counter() - begin) / args.steps

    trainer = Trainer(row, records, workers=0)
    begin = time.perf_counter()
    loaded = [trainer._load(step, map) for step in range(args.steps)]
    loading = (time.perf_counter() - begin) / args.steps
    trainer._load = lambda step, each: loaded[step]  # type: ignore[method-assign]
    trainer._loader._make = trainer._load
    begin = time.perf_counter()
    trainer.fit()
    computing = (time.perf_counter() - begin) / args.steps
    found = {w: min(seconds(w) for _ in range(args.rounds)) for w in args.workers}
    print(f"{len(set(files))} pictures; loading alone {loading:.3f} s a step, computing alone {computing:.3f} s")
    for workers, s in found.items():
        print(f"workers {workers}: {s:.3f} s a step, {args.batch / s:.0f} pictures a second")
    print(json.dumps({"benchmark": "loading", "loading": loading, "computing": computing, "seconds_a_step": found}))


if __name__ == "__main__":
    main()
