"""What runs on a GPU as on the CPU: the contrast kernel, every training row, bf16, compile, nccl, resume.

    python scripts/check_gpu.py [--rows clip dreamlip …] [--minutes 8] [--output gpu.json]
    python scripts/check_gpu.py --device cpu --rows clip      checks the script itself, without a GPU

It needs no network and no installed panoglot: the source tree around it, and torch, numpy, PyYAML; `langcodes` for the
rows colbert-xm and vgs-char-gru, `scipy` for grain and croc. A row whose package is missing is listed with its name;
without `sentencepiece` the rows sycoca and m2-encoder read bytes.

Each check prints a line when it is done; at the end one table. Exit code 0: everything that ran is as it must be, or
there is no GPU, which is said; 1: something differs. What the time did not suffice for is listed as not run.

What must hold, and is not only shown:
  float32   every loss of the first steps, each from the same weights on both devices, within 1e-4 of the CPU's
  bf16      finite, and the first loss within 5 % of float32's
  compile   the first loss within 5 % of the same without
  resume    a run that stopped and went on has the weights of one that did not, within 1e-5
  nccl      in one process: gathered features, pooled contrast and DDP give the gradients of a run without them
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]

FLOAT32, BF16 = 1e-4, 0.05
#: name of a check -> its figures; `error` where it failed, `not_run` where it could not be tried.
FOUND: dict[str, dict[str, Any]] = {}


class Late(BaseException):
    """The time is up; no `except Exception` on the way takes it."""


def check(name: str, until: float, run: Callable[[], dict[str, Any]]) -> None:
    """Run a check; it returns its figures, and raises AssertionError where something is not as it must be."""

    rung = []

    def late(*_: Any) -> None:
        rung.append(True)
        raise Late

    begin, left = time.perf_counter(), until - time.perf_counter()
    if left < 2:
        FOUND[name] = {"not_run": "time"}
    else:
        before = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, left)
        try:
            FOUND[name] = run()
        except (Late, Exception) as error:  # the other checks go on
            trace, said = traceback.extract_tb(error.__traceback__)[-1], " ".join(str(error).split())[:300]
            if rung:  # a compiler may have wrapped it in an error of its own
                FOUND[name] = {"not_run": f"time: not done after {time.perf_counter() - begin:.0f} s"}
            elif isinstance(error, ModuleNotFoundError) or type(error).__name__ == "MissingPackage":
                FOUND[name] = {"not_run": said}
            else:
                FOUND[name] = {"error": f"{type(error).__name__}: {said} ({Path(trace.filename).name}:{trace.lineno})"}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    FOUND[name]["seconds"] = round(time.perf_counter() - begin, 1)
    print(f"{verdict(name):8} {name:34} {json.dumps(FOUND[name])}", flush=True)


def verdict(name: str) -> str:
    """Return ok, FAILED or not run."""
    return "FAILED" if "error" in FOUND[name] else "not run" if "not_run" in FOUND[name] else "ok"


# ---- the kernel ------------------------------------------------------------------------------------------------------


def vectors(size: int, dim: int, device: str, noise: float = 0.5) -> tuple[Any, Any, Any]:
    """Two sets of unit vectors of which each pair is near, and a scale; with gradients."""
    import torch

    g = torch.Generator().manual_seed(0)
    x, y = (torch.nn.functional.normalize(torch.randn(size, dim, generator=g), dim=1) for _ in range(2))
    y = torch.nn.functional.normalize(x + noise * y, dim=1)
    found = [t.to(device).requires_grad_() for t in (x, y, torch.tensor(1 / 0.07))]
    return found[0], found[1], found[2]


def kernel_is_the_same(device: str, **options: Any) -> dict[str, Any]:
    """Value and gradients of the tiled kernel on the device against the dense form on the CPU in float64."""
    from panoglot.networks import ContrastOptions, contrast, contrast_dense

    how = ContrastOptions(**options)
    x, y, s = vectors(1000, 64, device, noise=4.0)
    ours = contrast(x, y, options=how, scale=s)
    ours.value.backward()
    a, b, t = (v.detach().double().cpu().requires_grad_() for v in (x, y, s))
    naive = contrast_dense(a, b, options=how, scale=t)
    naive.value.backward()
    worst = abs(float(ours.value.detach()) / float(naive.value.detach()) - 1)
    for mine, other in ((x, a), (y, b), (s, t)):
        gap = (mine.grad.cpu().double() - other.grad).norm() / other.grad.norm().clamp_min(1e-12)
        worst = max(worst, float(gap))
    assert worst < 1e-3, worst
    return {"gap": worst}


def kernel_cost(device: str, size: int, dim: int = 512) -> dict[str, Any]:
    """Time and memory of forward and backward, against the same with the whole matrix."""
    import torch

    from panoglot.networks import contrast

    def whole(x: Any, y: Any, s: Any) -> Any:
        labels = torch.arange(len(x), device=x.device)
        ce = torch.nn.functional.cross_entropy
        return (ce(s * x @ y.T, labels) + ce(s * y @ x.T, labels)) / 2

    def cost(loss: Callable[..., Any]) -> tuple[float, float, float]:
        best, peak, value = math.inf, 0.0, 0.0
        for _ in range(3):
            x, y, s = vectors(size, dim, device)
            reset(device)
            before, begin = allocated(device), time.perf_counter()
            found = loss(x, y, s)
            found.backward()
            wait(device)
            peak = max(peak, memory(device) - before)
            best, value = min(best, time.perf_counter() - begin), float(found.detach())
        return best, peak, value

    ours, our_mib, value = cost(lambda x, y, s: contrast(x, y, scale=s).value)
    naive, naive_mib, other = cost(whole)
    assert abs(value - other) < FLOAT32 * abs(other) + 1e-6, (value, other)
    return {"s": round(ours, 4), "whole_s": round(naive, 4), "mib": round(our_mib), "whole_mib": round(naive_mib)}


def wait(device: str) -> None:
    """Wait for what the device was told to do."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def reset(device: str) -> None:
    """Count the peak of memory anew: of the GPU, or of this process (Linux)."""
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return


def allocated(device: str) -> float:
    """Return what is in use now, in MiB: of the GPU; of this process."""
    import torch

    return torch.cuda.memory_allocated() / 2**20 if device == "cuda" else _status("VmRSS")


def memory(device: str) -> float:
    """Return the peak since `reset`, in MiB: of the GPU; of this process."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else _status("VmHWM")


def _status(key: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 2**10
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


# ---- rows ------------------------------------------------------------------------------------------------------------


def prepared(name: str) -> tuple[Any, Any]:
    """Return a row's preset for one CPU, and 96 records of the synthetic bed as it wants them."""
    from bench_shapes import data_of, settings_of, taught

    from panoglot.networks import load_row

    row, records = load_row(name, "small", **settings_of(name)), data_of(name, 96)
    if (row.text or {}).get("tokenizer") == "captions" and find_spec("sentencepiece") is None:
        row = load_row(name, "small", **settings_of(name), text={"tokenizer": ""})  # bytes
    return row, taught(records, 0, steps=2) if name == "dc-clip" else records


def same_losses(name: str, device: str, steps: int) -> dict[str, Any]:
    """Losses of the first steps in float32, each from the CPU run's weights; rounding does not add up then."""
    from panoglot.training import Trainer

    row, records = prepared(name)
    cpu, other = (Trainer(row, records, seed=0, device=where, workers=0) for where in ("cpu", device))
    worst, losses = 0.0, []
    for _ in range(steps):
        other.model.load_state_dict(cpu.model.state_dict())
        (want,), (got,) = cpu.fit(1, progress=False), other.fit(1, progress=False)
        for key in (k for k in want if k == "loss" or k.startswith("loss/")):
            gap = abs(got[key] - want[key]) / max(abs(want[key]), 1e-2)
            assert gap < FLOAT32, (key, want[key], got[key])
            worst = max(worst, gap)
        losses.append(want["loss"])
    return {"gap": worst, "first_loss": losses[0]}


def speed(row: Any, records: Any, device: str, steps: int, warm: int = 2, **how: Any) -> dict[str, Any]:
    """First loss, samples a second after `warm` steps, peak memory in MiB; all that a trainer does in a step counts."""
    from panoglot.training import Trainer

    reset(device)
    before = allocated(device)
    trainer = Trainer(row, records, seed=0, device=device, workers=2, **how)
    first = trainer.fit(warm, progress=False)[0]["loss"]
    assert math.isfinite(math.nan if first is None else first), first
    wait(device)
    begin, done = time.perf_counter(), trainer.step
    figures = trainer.fit(steps, progress=False)
    wait(device)
    seconds = time.perf_counter() - begin
    assert all(f["loss"] is not None and abs(f["loss"]) < 1e6 for f in figures), figures[-1]
    size = trainer.stages[0].row.batch * (trainer.step - done)
    return {"loss": first, "per_s": round(size / seconds, 1), "mib": round(memory(device) - before)}


def row_runs(name: str, device: str, steps: int) -> dict[str, Any]:
    """A row on the CPU and on the device in float32, and on the device in bf16."""
    out = same_losses(name, device, 3)
    row, records = prepared(name)
    for label, where, precision in (("cpu", "cpu", "float32"), ("f32", device, "float32"), ("bf16", device, "bf16")):
        for key, value in speed(row, records, where, steps, precision=precision).items():
            out[f"{label}_{key}"] = value
    gap = abs(out["bf16_loss"] - out["f32_loss"]) / max(abs(out["f32_loss"]), 1e-2)
    assert gap < BF16, (out["f32_loss"], out["bf16_loss"])
    return out


def row_compiles(name: str, device: str, steps: int) -> dict[str, Any]:
    """The same row in bf16 with its towers compiled."""
    row, records = prepared(name)
    begin = time.perf_counter()
    backend = "inductor" if device == "cuda" else "aot_eager"
    found = speed(row, records, device, steps, warm=4, precision="bf16", compile=backend)
    want = FOUND[f"row {name}"].get("bf16_loss")
    assert want is None or abs(found["loss"] - want) < BF16 * max(abs(want), 1e-2), (want, found["loss"])
    return {"per_s": found["per_s"], "mib": found["mib"], "took_s": round(time.perf_counter() - begin, 1)}


def full_size(device: str, batch: int) -> dict[str, Any]:
    """CLIP's own towers, ViT-B/32 and its text tower at 77 tokens (of bytes: needs no tokeniser), in bf16."""
    import numpy as np

    from panoglot.networks import Record, Text, load_row

    draw = np.random.default_rng(0)
    records = [
        Record(f"p{n}", draw.random((3, 224, 224), np.float32), [Text(f"a picture of {n} red things by the sea")])
        for n in range(batch)
    ]
    row = load_row("clip", text={"tokenizer": ""}, batch=batch, epochs=100, schedule={"warmup": 10})
    out = {}
    for label, how in (("bf16", {}), ("bf16_checkpointing", {"checkpointing": True})):
        found = speed(row, records, device, 6, precision="bf16", augment=False, **how)
        out |= {f"{label}_per_s": found["per_s"], f"{label}_mib": found["mib"]}
    return out


# ---- runs ------------------------------------------------------------------------------------------------------------


def goes_on(device: str) -> dict[str, Any]:
    """A run that stopped and went on against one that did not."""
    import torch

    from panoglot.training import Trainer

    row, records = prepared("clip")
    torch.use_deterministic_algorithms(True, warn_only=True)

    def weights(stops: tuple[int, ...]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            for until in stops:
                trainer = Trainer(row, records, folder, seed=0, device=device, workers=0, save_every=1)
                trainer.resume()
                trainer.fit(steps=until - trainer.step, progress=False)
            return {k: v.detach().cpu().clone() for k, v in trainer.model.state_dict().items()}

    try:
        whole, parts = weights((10,)), weights((4, 10))
    finally:
        torch.use_deterministic_algorithms(False)
    gap = max(float((whole[k].double() - parts[k].double()).abs().max()) for k in whole if whole[k].numel())
    assert gap < 1e-5, gap
    return {"gap": gap, "bit_for_bit": gap == 0.0}


def one_process_group(device: str) -> dict[str, Any]:
    """A group of one process: gathered features, pooled contrast and DDP against none of them."""
    import copy

    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from panoglot.networks import contrast, gather_rows, pooled_contrast
    from panoglot.training import Trainer

    backend = "nccl" if device == "cuda" else "gloo"
    row, records = prepared("clip")
    trainer = Trainer(row, records, seed=0, device=device, workers=0)
    batch = trainer.data.batch(trainer.data.plan(0)[0], 0).to(torch.device(device))
    plain, wrapped = copy.deepcopy(trainer.model), copy.deepcopy(trainer.model)
    plain(batch)["contrast"].value.backward()
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(backend, init_method=f"file://{folder}/meet", rank=0, world_size=1)
        try:
            group = dist.new_group()
            x, y, s = vectors(256, 64, device)
            assert torch.equal(gather_rows(x, group), x)
            pooled_contrast(x, y, None, scale=s, group=group).value.backward()
            a, b, t = vectors(256, 64, device)
            contrast(a, b, scale=t).value.backward()
            for mine, other in ((x, a), (y, b), (s, t)):
                worst = max(worst, float((mine.grad - other.grad).norm() / other.grad.norm()))
            net = DistributedDataParallel(
                wrapped, device_ids=[0] if device == "cuda" else None, find_unused_parameters=True
            )
            net(batch)["contrast"].value.backward()
            for (key, mine), (_, other) in zip(wrapped.named_parameters(), plain.named_parameters(), strict=True):
                if other.grad is not None:
                    gap = float((mine.grad - other.grad).norm() / other.grad.norm().clamp_min(1e-8))
                    assert gap < 1e-3, (key, gap)
                    worst = max(worst, gap)
        finally:
            dist.destroy_process_group()
    assert worst < 1e-3, worst
    return {"backend": backend, "gap": worst}


# ---- the table -------------------------------------------------------------------------------------------------------


def table(rows: list[str]) -> list[str]:
    """Return one table: what holds, samples a second, memory; the checks without rows stand below it."""
    head = ["row", "losses", "gap", "CPU /s", "f32 /s", "bf16 /s", "compiled /s", "CPU MiB", "f32 MiB", "bf16 MiB", ""]
    lines = []
    for name in rows:
        row, compiled = FOUND[f"row {name}"], FOUND.get(f"compile {name}", {"not_run": "not asked"})
        said = [f"compile: {compiled[k]}" for k in ("error", "not_run") if k in compiled]
        said += [str(row[k]) for k in ("error", "not_run") if k in row]
        cells = [f"{row[k]:,.0f}" if k in row else "–" for k in ("cpu_per_s", "f32_per_s", "bf16_per_s")]
        cells += [f"{compiled['per_s']:,.0f}" if "per_s" in compiled else "–"]
        cells += [f"{row[k]:,.0f}" if k in row else "–" for k in ("cpu_mib", "f32_mib", "bf16_mib")]
        gap = f"{row['gap']:.0e}" if "gap" in row else "–"
        lines.append([name, verdict(f"row {name}"), gap, *cells, "; ".join(said)[:80]])
    widths = [max(len(line[n]) for line in [head, *lines]) for n in range(len(head))]
    out = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in [head, *lines]]
    out.insert(1, "-" * max(map(len, out)))
    out.append("")
    for name, found in FOUND.items():
        if not name.startswith(("row ", "compile ")):
            said = ", ".join(f"{k} {v:.2g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())
            out.append(f"{verdict(name):8} {name:34} {said}")
    return out


def main() -> int:
    """Run the checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--rows", nargs="*", help="of panoglot train --list; default: all")
    parser.add_argument("--sizes", type=int, nargs="*", default=[8192, 32768], help="of the contrast kernel")
    parser.add_argument("--steps", type=int, default=8, help="that are timed")
    parser.add_argument("--batch", type=int, default=256, help="of CLIP's own size; 0: leave it out")
    parser.add_argument("--minutes", type=float, default=8.0, help="what does not fit is listed as not run")
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled runs")
    parser.add_argument("--output", help="a file for everything, as JSON")
    args = parser.parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no GPU: nothing was checked. --device cpu checks the script itself.")
        return 0
    from panoglot.networks import list_rows, load_row

    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    name = torch.cuda.get_device_name(0) if args.device == "cuda" else "the CPU alone"
    print(f"torch {torch.__version__} on {name}", flush=True)
    begin, rows = time.perf_counter(), args.rows or [n for n in sorted(list_rows()) if not load_row(n).readers]
    until = begin + 60 * args.minutes - 5
    for options in ({}, {"form": "sigmoid"}, {"form": "hinge"}, {"reduce": "sum", "smoothing": 0.1}, {"group": 250}):
        said = ", ".join(f"{key}={value}" for key, value in options.items()) or "softmax"
        check(f"kernel: {said}", until, lambda options=options: kernel_is_the_same(args.device, **options))
    check("nccl, one process", until, lambda: one_process_group(args.device))
    check("a run goes on", until, lambda: goes_on(args.device))
    for row in rows:
        check(f"row {row}", until, lambda row=row: row_runs(row, args.device, args.steps))
    for size in args.sizes:
        check(f"kernel at {size:,}", until, lambda size=size: kernel_cost(args.device, size))
    if args.batch:
        check("CLIP ViT-B/32", until, lambda: full_size(args.device, args.batch))
    for row in () if args.no_compile else rows:
        check(f"compile {row}", until, lambda row=row: row_compiles(row, args.device, args.steps))
    print("", *table(rows), sep="\n")
    failed = [one for one in FOUND if verdict(one) == "FAILED"]
    missing = [one for one in FOUND if verdict(one) == "not run"]
    minutes = (time.perf_counter() - begin) / 60
    good = len(FOUND) - len(failed) - len(missing)
    print(f"\n{good} ok, {len(failed)} failed, {len(missing)} not run, {minutes:.1f} min")
    if args.output:
        report = {"benchmark": "gpu", "device": name, "torch": torch.__version__, "failed": failed, "checks": FOUND}
        Path(args.output).write_text(json.dumps(report, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
