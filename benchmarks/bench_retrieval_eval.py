"""Recall@{1,5,10} both ways: 5,000 images, 25,000 texts, 512 dimensions; and an arena's bootstrap.

    python benchmarks/bench_retrieval_eval.py [--repeat 3]

The floor is the one matrix product (128 GFLOP). Beside it, where torch is: the steps of CLIP_benchmark's `recall_at_k`
(the table of scores, the best k of 64 rows at a time as one-hot rows, summed where they meet the table of pairs), which
must give the same recalls. The arena: 10,000 resamples of 6,500 votes among 15 captioners, sequential Elo and
Bradley-Terry.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import time

import numpy as np


def data(images: int = 5000, each: int = 5, dim: int = 512) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, and texts near them."""
    draw = np.random.default_rng(0)
    pictures = draw.normal(size=(images, dim)).astype(np.float32)
    owners = np.repeat(np.arange(images), each)
    texts = draw.normal(size=(images * each, dim)).astype(np.float32)
    texts *= 6
    texts += pictures[owners]
    return pictures, texts, owners


def by_sorting(pictures: np.ndarray, texts: np.ndarray, owners: np.ndarray, part: int = 200) -> dict[str, float]:
    """The recalls of the first images and texts by full argsort: the check."""
    a = pictures / np.linalg.norm(pictures, axis=1, keepdims=True)
    b = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    found = {}
    up, down = np.argsort(-(a[:part] @ b.T), axis=1)[:, :10], np.argsort(-(b[:part] @ a.T), axis=1)[:, :10]
    for k in (1, 5, 10):
        found[f"image_to_text/recall@{k}"] = float((owners[up[:, :k]] == np.arange(part)[:, None]).any(axis=1).mean())
        found[f"text_to_image/recall@{k}"] = float((down[:, :k] == owners[:part, None]).any(axis=1).mean())
    return found


def by_one_hot(pictures: np.ndarray, texts: np.ndarray, owners: np.ndarray) -> dict[str, float]:
    """The recalls by CLIP_benchmark's steps: one-hot rows of the best k, 64 rows at a time."""
    import torch
    from torch.nn.functional import normalize, one_hot

    a, b = (normalize(torch.from_numpy(rows), dim=-1) for rows in (pictures, texts))
    scores = b @ a.T
    pairs = torch.zeros_like(scores, dtype=torch.bool)
    pairs[torch.arange(len(b)), torch.from_numpy(owners)] = True
    found = {}
    for way, table, positive in (("image_to_text", scores.T, pairs.T), ("text_to_image", scores, pairs)):
        for k in (1, 5, 10):
            hits = []
            for n in range(0, len(table), 64):
                best = one_hot(table[n : n + 64].topk(k, dim=1)[1], num_classes=table.shape[1])
                hits.append((best * positive[n : n + 64, None]).sum((1, 2)) > 0)
            found[f"{way}/recall@{k}"] = float(torch.cat(hits).float().mean())
    return found


def votes(count: int = 6500, models: int = 15) -> list[tuple[str, str, str]]:
    """Votes of captioners whose strengths differ, with ties."""
    draw = np.random.default_rng(0)
    strength = np.linspace(0, 400, models)
    rows = []
    for _ in range(count):
        i, j = draw.choice(models, 2, replace=False)
        chance = 1 / (1 + 10 ** ((strength[j] - strength[i]) / 400))
        winner = "tie" if draw.random() < 0.12 else (f"m{i}" if draw.random() < chance else f"m{j}")
        rows.append((f"m{i}", f"m{j}", winner))
    return rows


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeat", type=int, default=3)
    repeat = arguments.parse_args().repeat
    from panoglot.evaluate import arena, image_text_retrieval

    pictures, texts, owners = data()
    wall, cpu, floor, floor_cpu = [], [], [], []
    for _ in range(repeat):
        start, spent = time.perf_counter(), time.process_time()
        both = image_text_retrieval(pictures, texts, owners)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - spent)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    for _ in range(repeat):
        start, spent = time.perf_counter(), time.process_time()
        pictures @ texts.T
        floor.append(time.perf_counter() - start)
        floor_cpu.append(time.process_time() - spent)
    expected = by_sorting(pictures, texts, owners)
    part = {
        f"{way}/{name}": float(np.mean([rank <= int(name[7:]) for rank in result.details[:200]]))
        for way, result in both.items()
        for name in result.parts
        if name.startswith("recall@")
    }
    if part != expected:
        raise SystemExit(f"recalls differ from sorting: {part} {expected}")

    peer: dict[str, float] = {}
    if importlib.util.find_spec("torch"):
        start, spent = time.perf_counter(), time.process_time()
        theirs = by_one_hot(pictures, texts, owners)
        peer = {"one_hot_s": time.perf_counter() - start, "one_hot_cpu_s": time.process_time() - spent}
        peer["one_hot_peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        ours = {f"{way}/{name}": value for way, result in both.items() for name, value in result.parts.items()}
        if any(abs(ours[name] - value) > 1e-4 for name, value in theirs.items()):
            raise SystemExit(f"recalls differ from the peer's: {ours} {theirs}")

    start, spent = time.perf_counter(), time.process_time()
    elo = arena(votes(), rating="elo", resamples=10_000)
    elo_wall, elo_cpu = time.perf_counter() - start, time.process_time() - spent
    start = time.perf_counter()
    arena(votes(), rating="bradley-terry", resamples=10_000)
    bt_wall = time.perf_counter() - start
    print(f"recall both ways  {min(wall):6.2f} s  {min(cpu):6.2f} CPU-s  {peak:.2f} GB   bar 1.5 s, 0.8 GB")
    print(f"  floor: product  {min(floor):6.2f} s  {min(floor_cpu):6.2f} CPU-s")
    if peer:
        shown = "{one_hot_s:6.2f} s  {one_hot_cpu_s:6.2f} CPU-s  {one_hot_peak_gb:.2f} GB".format(**peer)
        print(f"  CLIP_benchmark  {shown}")
    print(f"arena, Elo        {elo_wall:6.2f} s  {elo_cpu:6.2f} CPU-s   bar 5 s")
    print(f"arena, Bradley-T. {bt_wall:6.2f} s")
    print(
        json.dumps(
            {
                "benchmark": "retrieval_eval",
                "recall_s": round(min(wall), 3),
                "recall_cpu_s": round(min(cpu), 3),
                "recall_peak_gb": round(peak, 3),
                "recall_floor_s": round(min(floor), 3),
                "recall_floor_cpu_s": round(min(floor_cpu), 3),
                **{name: round(value, 3) for name, value in peer.items()},
                "recall_at_1": {way: result.value for way, result in both.items()},
                "arena_elo_s": round(elo_wall, 3),
                "arena_bt_s": round(bt_wall, 3),
                "arena_leader": elo.ranking[0],
            }
        )
    )


if __name__ == "__main__":
    main()
