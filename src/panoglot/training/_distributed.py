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
from panoglot.networks._records import Term

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
        handler = accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)
        self._accelerator = accelerate.Accelerator(cpu=cpu, kwargs_handlers=[handler])
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
        if self.shard:
            return self._sharded(model)
        self._accelerator.free_memory()
        return self._accelerator.prepare_model(model)

    def _sharded(self, model: nn.Module) -> nn.Module:
        """Cut every transformer block, and what is left, over the processes.

        By torch's `fully_shard` itself: what Accelerate puts around it runs on GPUs only and could not be tested here.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

        if isinstance(model, FSDPModule):
            return model
        mesh = init_device_mesh(self.device.type, (self.world,))
        whole = {p for p in model.parameters() if not p.dim()}  # a number cannot be cut: held everywhere
        names = {n for m in model.modules() for n in getattr(m, "_no_split_modules", None) or ()} | {"Block"}
        for module in model.modules():
            if type(module).__name__ in names and not isinstance(module, FSDPModule):
                fully_shard(module, mesh=mesh, ignored_params=whole)
        fully_shard(model, mesh=mesh, ignored_params=whole)
        for method in ("features", "encode_texts", "encode_pixels"):
            register_fsdp_forward_method(model, method)
        return model

    def norm(self, parameters: Iterable[nn.Parameter], most: float) -> float:
        """Return the norm of all gradients, and scale them down to `most` where it is larger."""
        grads = [p.grad for p in parameters if p.grad is not None]
        if not self.shard:
            return float(torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], most))
        from torch.distributed.tensor import DTensor

        cut = [g.to_local() for g in grads if isinstance(g, DTensor)]
        whole = [g for g in grads if not isinstance(g, DTensor)]
        squares = [sum(float(g.double().pow(2).sum()) for g in some) for some in (cut, whole)]
        norm = (self.sum([squares[0]])[0] + squares[1]) ** 0.5
        if norm > most:
            for g in (*cut, *whole):
                g.mul_(most / (norm + 1e-6))
        return float(norm)

    def state(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """Return the weights and the optimiser's state, whole (in the main process, where they are sharded)."""
        if not self.shard:
            return {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights, moments = get_state_dict(model, optimiser, options=options)
        return {"model": weights, "optimiser": moments}

    def load(self, model: nn.Module, optimiser: torch.optim.Optimizer | None, state: Mapping[str, Any]) -> None:
        """Put back what `state` returned; without an optimiser only the weights."""
        if not self.shard:
            model.load_state_dict(state["model"])
            if optimiser is not None:
                optimiser.load_state_dict(state["optimiser"])
            return
        from torch.distributed.checkpoint import state_dict as sharded

        options = sharded.StateDictOptions(full_state_dict=True)
        sharded.set_model_state_dict(model, state["model"], options=options)
        if optimiser is not None:  # not strict: what never had a gradient has no state
            options = sharded.StateDictOptions(full_state_dict=True, strict=False)
            sharded.set_optimizer_state_dict(model, optimiser, state["optimiser"], options=options)

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

    def agree(self, value: float) -> bool:
        """Whether all processes have the same number."""
        first, second = self.sum([value, value * value])
        return first == value * self.world and second == value * value * self.world

    def pool(self, terms: Mapping[str, Term], parts: Mapping[str, Any]) -> tuple[dict[str, Term], dict[str, int]]:
        """Turn means over this process's items into shares whose mean over the processes is the mean over all items.

        Returns:
            The shares (with this process's counts), and the counts over all processes.
        """
        counts = dict(zip(terms, map(int, self.sum(t.count for t in terms.values())), strict=True))
        if self.world == 1:
            return dict(terms), counts
        if self.shard:
            have = dict(zip(terms, self.sum(t.count > 0 for t in terms.values()), strict=True))
            for name, n in have.items():
                if 0 < n < self.world:
                    raise UserError(
                        f"shard: the loss '{name}' has something to learn from in some processes only; give a larger "
                        "batch, or do not shard."
                    )
        out = {}
        for name, term in terms.items():
            factor = 1.0 if parts[name].across == "own" else term.count * self.world / max(1, counts[name])
            out[name] = Term(term.value * factor, term.count)
        return out, counts

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes, where DDP or FSDP did not see the backward pass."""
        trained = [p for p in parameters if p.requires_grad and not (self.shard and p.dim())]
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
