"""What runs on a GPU as on the CPU: the contrast kernel, every training method, bf16, going on where a run stopped.

    python scripts/check_gpu.py [--device cuda] [--methods clip dreamlip …] [--sizes 8192 32768] [--output gpu.json]

Each check prints its figure and says ok or FAILED; the last line is JSON, and the exit code 1 if anything failed. It
needs torch, numpy and PyYAML, and this source tree on PYTHONPATH. With `--device cpu` it checks itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

FOUND: dict[str, Any] = {}
FAILED: list[str] = []


def check(name: str, run: Callable[[], dict[str, Any]]) -> None:
    """Run a check; it returns its figures, and raises AssertionError where something is not as it must be."""
    begin = time.perf_counter()
    try:
        FOUND[name], said = run(), "ok"
    except Exception as error:  # the other checks go on
        trace = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(trace.filename).name}:{trace.lineno}"
        FOUND[name] = {"error": f"{type(error).__name__}: {str(error)[:300]} ({at})"}
        FAILED.append(name)
        said = "FAILED"
    print(f"{said:6} {name:34} {time.perf_counter() - begin:6.1f} s  {json.dumps(FOUND[name])}", flush=True)


def vectors(size: int, dim: int, device: str, noise: float = 0.5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two sets of unit vectors of which each pair is near, and a scale; with gradients."""
    g = torch.Generator().manual_seed(0)
    x, y = (torch.nn.functional.normalize(torch.randn(size, dim, generator=g), dim=1) for _ in range(2))
    y = torch.nn.functional.normalize(x + noise * y, dim=1)
    found = [t.to(device).requires_grad_() for t in (x, y, torch.tensor(1 / 0.07))]
    return found[0], found[1], found[2]


def kernel_is_the_same(device: str, **options: Any) -> dict[str, Any]:
    """Value and gradients of the tiled kernel on the device against the dense form on the CPU in float64."""
    from panoglot.networks import ContrastOptions, contrast, contrast_dense

    how = ContrastOptions(**options)

    torch.backends.cuda.matmul.allow_tf32 = False
    x, y, s = vectors(1000, 64, device, noise=4.0)
    ours = contrast(x, y, options=how, scale=s)
    ours.value.backward()
    a, b, t = (v.detach().double().cpu().requires_grad_() for v in (x, y, s))
    naive = contrast_dense(a, b, options=how, scale=t)
    naive.value.backward()
    worst = abs(float(ours.value.detach()) / float(naive.value.detach()) - 1)
    for mine, other in ((x, a), (y, b), (s, t)):
        assert mine.grad is not None
        assert other.grad is not None
        gap = (mine.grad.cpu().double() - other.grad).norm() / other.grad.norm().clamp_min(1e-12)
        worst = max(worst, float(gap))
    assert worst < 1e-3, worst
    return {"largest_relative_gap": worst}


def kernel_cost(device: str, size: int, dim: int = 512) -> dict[str, Any]:
    """Time and memory of forward and backward, against the same with the whole matrix, and the floor of products."""
    from panoglot.networks import contrast

    def whole(x: torch.Tensor, y: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        labels = torch.arange(len(x), device=x.device)
        ce = torch.nn.functional.cross_entropy
        return (ce(s * x @ y.T, labels) + ce(s * y @ x.T, labels)) / 2

    def cost(loss: Callable[..., torch.Tensor]) -> tuple[float, float, float]:
        best, peak, value = float("inf"), 0.0, 0.0
        for _ in range(3):
            x, y, s = vectors(size, dim, device)
            if device == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated() if device == "cuda" else 0
            begin = time.perf_counter()
            found = loss(x, y, s)
            found.backward()
            if device == "cuda":
                torch.cuda.synchronize()
                peak = (torch.cuda.max_memory_allocated() - before) / 2**20
            best, value = min(best, time.perf_counter() - begin), float(found.detach())
        return best, peak, value

    ours, our_mb, value = cost(lambda x, y, s: contrast(x, y, scale=s).value)
    naive, naive_mb, other = cost(whole)
    assert abs(value - other) < 1e-4 * abs(other) + 1e-6, (value, other)
    a = torch.randn(4096, dim, device=device)
    begin, n = time.perf_counter(), 0
    while time.perf_counter() - begin < 0.5:
        a @ a.T
        n += 1
        if device == "cuda":
            torch.cuda.synchronize()
    rate = 2 * 4096 * 4096 * dim * n / (time.perf_counter() - begin)
    floor = 4 * 2 * size * size * dim / rate
    return {"seconds": ours, "whole_s": naive, "floor_s": floor, "mb": our_mb, "whole_mb": naive_mb}


def method_trains(name: str, device: str, steps: int = 12) -> dict[str, Any]:
    """A method's first steps on the device and on the CPU from the same seed: the losses must go together."""
    from bench_shapes import data_of, settings_of, taught

    from panoglot.networks import load_row
    from panoglot.training import Trainer

    def losses(where: str, precision: str = "float32") -> list[float]:
        row = load_row(name, "small", **settings_of(name))
        with tempfile.TemporaryDirectory() as folder:
            records = data_of(name, 96)
            if name == "dc-clip":
                records = taught(records, 0, steps=2)
            trainer = Trainer(row, records, folder, seed=0, device=where, workers=0, precision=precision)
            trainer.fit(steps=steps)
            log = (Path(folder) / "log.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in log]

    cpu, gpu = losses("cpu"), losses(device)
    half = losses(device, "bf16")
    first = abs(gpu[0] / cpu[0] - 1) if cpu[0] else 0.0
    last = abs(gpu[-1] / cpu[-1] - 1) if cpu[-1] else 0.0
    assert first < 5e-3, (cpu[0], gpu[0])
    assert last < 0.15, (cpu[-1], gpu[-1])
    assert all(loss == loss and abs(loss) < 1e6 for loss in half), half
    return {"first_gap": first, "last_gap": last, "bf16_gap": abs(half[-1] / gpu[-1] - 1) if gpu[-1] else 0.0}


def goes_on(device: str) -> dict[str, Any]:
    """A run that stopped and went on against one that did not."""
    from bench_shapes import data_of

    from panoglot.networks import load_row
    from panoglot.training import Trainer

    torch.use_deterministic_algorithms(True, warn_only=True)
    row = load_row("clip", "small")

    def weights(stops: tuple[int, ...]) -> dict[str, torch.Tensor]:
        with tempfile.TemporaryDirectory() as folder:
            for until in stops:
                trainer = Trainer(row, data_of("clip", 64), folder, seed=0, device=device, workers=0, save_every=1)
                trainer.resume()
                trainer.fit(steps=until - trainer.step)
            return {k: v.detach().cpu().clone() for k, v in trainer.model.state_dict().items()}

    whole, parts = weights((10,)), weights((4, 10))
    torch.use_deterministic_algorithms(False)
    gap = max(float((whole[k].double() - parts[k].double()).abs().max()) for k in whole if whole[k].numel())
    assert gap < 1e-5, gap
    return {"largest_gap": gap, "bit_for_bit": gap == 0.0}


def main() -> int:
    """Run the checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--sizes", type=int, nargs="*", default=[8192, 32768])
    parser.add_argument("--output")
    args = parser.parse_args()
    from panoglot.networks import list_rows

    name = torch.cuda.get_device_name(0) if args.device == "cuda" else "CPU"
    print(f"torch {torch.__version__} on {name}")
    for options in ({}, {"form": "sigmoid"}, {"form": "hinge"}, {"reduce": "sum", "smoothing": 0.1}, {"group": 250}):
        said = ", ".join(f"{key}={value}" for key, value in options.items()) or "softmax"
        check(f"kernel: {said}", lambda options=options: kernel_is_the_same(args.device, **options))
    for size in args.sizes:
        check(f"kernel at {size:,}", lambda size=size: kernel_cost(args.device, size))
    check("a run goes on", lambda: goes_on(args.device))
    for method in args.methods if args.methods is not None else sorted(list_rows()):
        check(f"train {method}", lambda method=method: method_trains(method, args.device))
    report = {"benchmark": "gpu", "device": name, "torch": torch.__version__, "failed": FAILED, "checks": FOUND}
    if args.output:
        Path(args.output).write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
