"""The contrast kernel against open_clip's ClipLoss: time and extra memory of forward + backward.

    python benchmarks/bench_loss.py [--sizes 4096 8192 16384] [--dim 512] [--repeats 3] [--threads N] [--huge]

Both run in one call, taking turns, each measurement in its own process so that the peak memory is its own.
open_clip's loss file is loaded by itself (the package wants torchvision); without open_clip, a stand-in with the same
two matrices takes its place, and the output says so. Floors: the kernel needs four matrix products (scores twice, two
gradients) at the measured matrix rate; it must hold the gradients (2·B·D) and one tile.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

SCALE = 1 / 0.07


def peer(torch):
    """Return (name, loss function) of the peer."""
    spec = importlib.util.find_spec("open_clip")
    if spec and spec.submodule_search_locations:
        file = Path(spec.submodule_search_locations[0]) / "loss.py"
        loss_spec = importlib.util.spec_from_file_location("open_clip_loss", file)
        module = importlib.util.module_from_spec(loss_spec)
        loss_spec.loader.exec_module(module)
        return "open_clip.ClipLoss", module.ClipLoss()

    def stand_in(x, y, s):
        labels = torch.arange(len(x))
        ce = torch.nn.functional.cross_entropy
        return (ce(s * x @ y.T, labels) + ce(s * y @ x.T, labels)) / 2

    return "stand-in for ClipLoss (open_clip is not installed)", stand_in


def one(which: str, size: int, dim: int, threads: int) -> None:
    """Measure once and print a JSON line."""
    import torch

    torch.set_num_threads(threads)
    g = torch.Generator().manual_seed(0)
    x, y = (torch.nn.functional.normalize(torch.randn(size, dim, generator=g), dim=1) for _ in range(2))
    y = torch.nn.functional.normalize(x + 0.5 * y, dim=1)
    s = torch.tensor(SCALE)
    for t in (x, y, s):
        t.requires_grad_()
    from panoglot.networks._contrast import contrast  # torch and its lazy parts are loaded before the baseline is taken

    loss_of = {"ours": lambda x, y, s: contrast(x, y, scale=s).value, "peer": peer(torch)[1]}[which]
    small = [t.detach()[:64].clone().requires_grad_() for t in (x, y)]
    loss_of(*small, s).backward()
    s.grad = None
    a = torch.randn(2048, 512)
    b = torch.randn(512, 2048)
    begin, n = time.perf_counter(), 0
    while time.perf_counter() - begin < 0.5:
        a @ b
        n += 1
    rate = 2 * 2048 * 2048 * 512 * n / (time.perf_counter() - begin)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    loss = loss_of(x, y, s)
    loss.backward()
    seconds = time.perf_counter() - begin
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
    out = {"seconds": seconds, "extra_mb": extra, "loss": float(loss), "rate": rate, "ds": float(s.grad)}
    print(json.dumps({**out, "dx": float(x.grad.norm()), "dy": float(y.grad.norm())}))


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--huge", action="store_true", help="also 32768 (the peer takes 17 GB)")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return one(args.one[0], int(args.one[1]), args.dim, args.threads)
    import torch

    name = peer(torch)[0]
    report = {}
    print(f"contrast kernel against {name}; D={args.dim}, float32, {args.threads} thread(s), best of {args.repeats}")
    for size in args.sizes + [32768] * args.huge:
        runs: dict[str, list[dict]] = {"ours": [], "peer": []}
        for _ in range(args.repeats):
            for which in runs:
                call = [sys.executable, "-W", "ignore", __file__, "--one", which, str(size)]
                call += ["--dim", str(args.dim), "--threads", str(args.threads)]
                out = subprocess.run(call, capture_output=True, text=True, check=True).stdout
                runs[which].append(json.loads(out.splitlines()[-1]))
        best = {w: min(r, key=lambda x: x["seconds"]) for w, r in runs.items()}
        ours, theirs = best["ours"], best["peer"]
        for key in ("loss", "dx", "dy", "ds"):
            if abs(ours[key] - theirs[key]) > 1e-4 * abs(theirs[key]) + 1e-6:
                raise SystemExit(f"B={size}: {key} differs: {ours[key]} and {theirs[key]}")
        rate = max(x["rate"] for r in runs.values() for x in r)
        floor_s = 4 * 2 * size * size * args.dim / rate
        floor_mb = (2 * size * args.dim + min(size, 2**22 // size) * size) * 4 / 2**20
        memory = {w: min(x["extra_mb"] for x in r) for w, r in runs.items()}
        print(
            f"B={size:6d}  ours {ours['seconds']:6.2f} s +{memory['ours']:6.0f} MB   peer {theirs['seconds']:6.2f} s "
            f"+{memory['peer']:6.0f} MB   floor {floor_s:6.2f} s +{floor_mb:4.0f} MB   "
            f"time ×{ours['seconds'] / theirs['seconds']:.2f}  memory 1/{memory['peer'] / max(1, memory['ours']):.1f}"
        )
        report[size] = {"ours_s": ours["seconds"], "peer_s": theirs["seconds"], "floor_s": floor_s}
        report[size] |= {"ours_mb": memory["ours"], "peer_mb": memory["peer"], "floor_mb": floor_mb}
    print(json.dumps({"benchmark": "loss", "peer": name, "dim": args.dim, "threads": args.threads, "sizes": report}))
    return None


if __name__ == "__main__":
    main()
