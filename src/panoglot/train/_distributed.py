"""The processes of a run: one, or those that `torchrun` or `accelerate launch` started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from panoglot.errors import UserError, require
from panoglot.train._records import Term

__all__ = ["Processes"]


class Processes:
    """Who takes part in a run, and what they do together. In a run of one process every method is for nothing.

    Args:
        device: `cpu`, `cuda`; None: a GPU where there is one.
        shard: cut parameters, gradients and the optimiser's state over the processes (FSDP2) instead of holding them
            everywhere (DDP).

    Attributes:
        rank, world: this process, and how many there are.
        device: of this process.
    """

    def __init__(self, device: str | None = None, *, shard: bool = False) -> None:
        cpu = device == "cpu" or not torch.cuda.is_available()
        if device not in (None, "cpu") and cpu:
            raise UserError(f"device: '{device}' is not there; use device='cpu'.")
        self.world = dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))
        self.rank, self.shard, self._accelerator = 0, shard, None
        self.group: Any = None
        if self.world == 1:
            if shard:
                raise UserError("shard: needs several processes: torchrun --nproc-per-node 2 …")
            self.device = torch.device("cpu" if cpu else device or "cuda")
            return
        accelerate = require("accelerate", "panoglot[train]", "Training in several processes")
        # losses may be absent in one process and present in another, so not every parameter has a gradient everywhere
        more: dict[str, Any] = {
            "kwargs_handlers": [accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)]
        }
        if shard:
            more = {
                "fsdp_plugin": accelerate.FullyShardedDataParallelPlugin(fsdp_version=2, reshard_after_forward=True)
            }
        self._accelerator = accelerate.Accelerator(cpu=cpu, **more)
        self.rank, self.device = dist.get_rank(), torch.device("cpu") if cpu else self._accelerator.device
        # contrast exchanges features while DDP exchanges gradients: each in a group of its own, so that neither waits
        # for the other in another order
        self.group = dist.new_group()

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> Any:
        """Return the model as it is called in a step: its gradients are the mean over the processes."""
        if self._accelerator is None:
            return model
        self._accelerator.free_memory()
        return self._accelerator.prepare_model(model)

    def groups(self, size: int) -> Any:
        """Return the group of `size` consecutive processes that this one is in. All processes must ask."""
        made = [dist.new_group(list(range(first, first + size))) for first in range(0, self.world, size)]
        return made[self.rank // size]

    def share(self, items: list[Any]) -> list[Any]:
        """Return this process's part of a step: contiguous, sizes differ by at most one."""
        return items[len(items) * self.rank // self.world : len(items) * (self.rank + 1) // self.world]

    def sum(self, values: Iterable[float]) -> list[float]:
        """Return the sums over the processes."""
        values = [float(v) for v in values]
        if self.world == 1 or not values:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.device.type == "mps":  # pragma: no cover
            total = total.float()
        dist.all_reduce(total)
        return total.tolist()

    def pool(self, terms: Mapping[str, Term], parts: Mapping[str, Any]) -> tuple[dict[str, Term], dict[str, int]]:
        """Turn means over this process's items into shares whose mean over the processes is the mean over all items.

        Returns:
            The shares (with this process's counts), and the counts over all processes.
        """
        counts = dict(zip(terms, map(int, self.sum(t.count for t in terms.values())), strict=True))
        if self.world == 1:
            return dict(terms), counts
        out = {}
        for name, term in terms.items():
            factor = 1.0 if parts[name].across == "own" else term.count * self.world / max(1, counts[name])
            out[name] = Term(term.value * factor, term.count)
        return out, counts

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes, where DDP did not see the backward pass."""
        trained = [p for p in parameters if p.requires_grad]
        if self.world == 1 or not trained:
            return
        have = self.sum(float(p.grad is not None) for p in trained)
        some = [p for p, n in zip(trained, have, strict=True) if n]
        for p in some:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        grads = [p.grad for p in some if p.grad is not None]
        for bucket in torch._utils._take_tensors(grads, 25 * 2**20):
            flat = torch._utils._flatten_dense_tensors(bucket)
            dist.all_reduce(flat)
            for grad, mean in zip(
                bucket, torch._utils._unflatten_dense_tensors(flat / self.world, bucket), strict=True
            ):
                grad.copy_(mean)

    def alone(self, net: Any) -> Any:
        """Return a context in which a backward pass leaves gradients in this process."""
        return net.no_sync() if hasattr(net, "no_sync") else nullcontext()

    def wait(self) -> None:
        """Let all processes come to this point."""
        if self.world > 1:
            dist.barrier()

    def first(self, do: Callable[[], None]) -> None:
        """Let the main process do something, the others wait."""
        if self.main:
            do()
        self.wait()
