"""MaxSim over 100,000 pictures of 32 vectors: storage, recall and time in float32, float16, int8, with token pooling.

    python benchmarks/bench_maxsim.py [--pictures 100000] [--views 32] [--dim 128] [--tokens 8] [--queries 10]

Pictures are made of a few things each, a vector a patch of one of them with noise, as patches of real encoders are
alike; a query is patches of one picture, with more noise. Recall is the share of float32's first ten that is found;
`own` the share of queries whose picture comes first. CPU seconds of one query, the least of all; every way takes the
same queries in turn, so that a busy machine is busy for all. The floor is the matrix product alone, in float32.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from panoglot.vectors import maxsim, pool_tokens, quantised

K = 10


def units(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def pictures(count: int, views: int, dim: int) -> np.ndarray:
    """Unit vectors float16 `[count, views, dim]`: patches of four to ten things of 5,000."""
    rng = np.random.default_rng(0)
    things = units(rng.standard_normal((5000, dim), dtype=np.float32))
    out = np.empty((count, views, dim), np.float16)
    for start in range(0, count, 5000):
        many = min(5000, count - start)
        own = rng.integers(0, len(things), (many, 10))
        which = np.take_along_axis(own, rng.integers(0, rng.integers(4, 11, (many, 1)), (many, views)), axis=1)
        noise = rng.standard_normal((many, views, dim), dtype=np.float32) * (0.6 / dim**0.5)
        out[start : start + many] = units(things[which] + noise)
    return out


def cpu(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """CPU seconds of all threads, and what came out."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def product(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The largest product of every block of rows: what must be computed at least."""
    return np.array([(query @ rows[n : n + 16_384].T).max() for n in range(0, len(rows), 16_384)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--views", type=int, default=32)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=8, help="vectors of a query")
    parser.add_argument("--queries", type=int, default=10)
    args = parser.parse_args()
    every = pictures(args.pictures, args.views, args.dim)
    rng = np.random.default_rng(1)
    own = rng.integers(0, args.pictures, args.queries)
    drawn = every[own[:, None], rng.integers(0, args.views, (args.queries, args.tokens))].astype(np.float32)
    queries = units(drawn + rng.standard_normal(drawn.shape, dtype=np.float32) * (1.0 / args.dim**0.5))
    ways: dict[str, tuple[np.ndarray, np.ndarray | None, int]] = {}
    pooling = 0.0
    for keep in (args.views, args.views // 2, args.views // 4):
        if keep == args.views:
            rows = every.reshape(-1, args.dim)
            ways["float32, all"] = rows.astype(np.float32), None, keep
        else:
            began = time.process_time()
            rows = pool_tokens(every, keep).reshape(-1, args.dim).astype(np.float16)
            pooling = time.process_time() - began
        name = "all" if keep == args.views else f"pooled to {keep}"
        ways[f"float16, {name}"] = rows, None, keep
        values, scales = quantised(rows)
        ways[f"int8, {name}"] = values, scales, keep
    first = {name: [] for name in ways}
    best: dict[str, list[list[int]]] = {name: [] for name in ways}
    floor: list[float] = []
    whole = ways["float32, all"][0]
    for query in queries:
        floor.append(cpu(lambda query=query: product(query, whole))[0])
        for name, (rows, scales, keep) in ways.items():
            starts = np.arange(0, len(rows), keep)
            took, found = cpu(lambda q=query, r=rows, s=starts, c=scales: maxsim(q, r, s, c))
            first[name].append(took)
            best[name].append(np.argsort(-found, kind="stable")[:K].tolist())
    report = {}
    for name, (rows, scales, _) in ways.items():
        right = [len(set(a) & set(b)) / K for a, b in zip(best[name], best["float32, all"])]
        report[name] = {
            "mb": round((rows.nbytes + (0 if scales is None else scales.nbytes)) / 1e6),
            "recall": round(float(np.mean(right)), 3),
            "own": round(float(np.mean([row[0] == n for row, n in zip(best[name], own.tolist())])), 3),
            "cpu_s": round(min(first[name]), 3),
            "of_floor": round(min(a / b for a, b in zip(first[name], floor)), 2),
        }
    print(f"{args.pictures:,} x {args.views} x {args.dim}, queries of {args.tokens} vectors, top {K}")
    print(f"  floor: the product in float32  {min(floor):.3f} CPU s")
    for name, one in report.items():
        print(
            f"  {name:24} {one['mb']:6} MB   recall {one['recall']:.3f}   own {one['own']:.2f}   "
            f"{one['cpu_s']:.3f} CPU s   {one['of_floor']:.2f} of the floor"
        )
    print(f"  pooling to {args.views // 4}: {pooling / args.pictures * 1e6:.0f} CPU us a picture")
    print(json.dumps({"bench": "maxsim", "floor_s": round(min(floor), 3), "ways": report}))


if __name__ == "__main__":
    main()
