"""The contrast over several processes: everybody's pairs in one pool, each process computing its own share.

There is one way to do it, so there is no pair of settings to get wrong: features are gathered *with* gradient, each
process contrasts its own rows with all columns (and its own columns with all rows), and the mean over the
processes, which is what DDP takes of gradients, is the loss of the pool, exactly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from panoglot.errors import UserError
from panoglot.train._contrast import ContrastOptions, contrast
from panoglot.train._records import Term

__all__ = ["gather_rows", "pooled_contrast"]


class _Gather(torch.autograd.Function):
    """All rows of all processes; the gradient of a process's rows is the sum of what all processes ask of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], group: Any) -> Tensor:
        ctx.sizes, ctx.group = sizes, group
        widest = max(sizes)
        padded = torch.nn.functional.pad(x, (0, 0) * (x.dim() - 1) + (0, widest - len(x))).contiguous()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=group)
        return torch.cat([p[:n] for p, n in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        grad = grad.contiguous().clone()
        dist.all_reduce(grad, group=ctx.group)
        rank = dist.get_rank(ctx.group)
        start = sum(ctx.sizes[:rank])
        return grad[start : start + ctx.sizes[rank]], None, None


def _sizes(n: int, group: Any, device: torch.device) -> list[int]:
    mine = torch.tensor([n], device=device)
    every = [torch.zeros_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(every, mine, group=group)
    return [int(e) for e in every]


def gather_rows(x: Tensor, group: Any = None) -> Tensor:
    """Return the rows of all processes of a group, in the order of their ranks, with gradient. Counts may differ."""
    return _Gather.apply(x, _sizes(len(x), group, x.device), group)


def pooled_contrast(
    a: Tensor,
    b: Tensor,
    owner: Tensor | None = None,
    options: ContrastOptions | None = None,
    *,
    scale: Tensor | float = 1.0,
    bias: Tensor | float = 0.0,
    pair_id: Tensor | None = None,
    slot: Tensor | None = None,
    group: Any = None,
) -> Term:
    """`contrast` over the pairs of all processes of `group` (all processes, or those of a node: grouped contrast).

    Args:
        a: [n, D] this process's pictures.
        b: [m, D] this process's texts.
        owner: [m] which of *this process's* pictures each text belongs to.
        options: as for `contrast`; `maxsim` and `group` are not for several processes.
        scale: learned scale.
        bias: learned bias.
        pair_id: [n] equal for duplicates, the same numbers on every process.
        slot: [m] which text of its picture it is.
        group: of processes.

    Returns:
        This process's share: the mean of the shares over the processes is the loss of the pool, and so are gradients
        that are averaged over the processes. Outside of a distributed run it is `contrast` itself.
    """
    options = options or ContrastOptions()
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size(group) == 1:
        return contrast(a, b, owner, options, scale=scale, bias=bias, pair_id=pair_id, slot=slot)
    if options.scorer == "maxsim" or options.group is not None:
        raise UserError("pooled_contrast: give a process group instead of options.group; maxsim stays in its process.")
    world, rank = dist.get_world_size(group), dist.get_rank(group)
    sizes = _sizes(len(a), group, a.device)
    start = sum(sizes[:rank])
    owner = torch.arange(len(b), device=b.device) if owner is None else owner
    key_a = torch.arange(len(a), device=a.device) + start
    key_b = torch.where(owner >= 0, owner + start, -1)
    all_a, all_b, all_key_a, all_key_b = (gather_rows(z, group) for z in (a, b, key_a, key_b))
    ids: Tensor | None = None
    ids_b: Tensor | None = None
    if pair_id is not None:
        lone = -1 - torch.arange(len(b), device=b.device) - rank * (1 << 40)
        ids, ids_b = pair_id, torch.where(owner >= 0, pair_id[owner.clamp(min=0)], lone)
    more: dict[str, Any] = {"scale": scale, "bias": bias}
    slots = None if slot is None else gather_rows(slot, group)
    if options.form == "hinge" or options.negatives == "per_slot":
        # these do not fall apart into rows and columns: every process computes the whole pool
        whole_ids = None if ids is None else gather_rows(ids, group)
        return contrast(all_a, all_b, all_key_b, options, pair_id=whole_ids, slot=slots, **more)
    all_ids, all_ids_b = (None if z is None else gather_rows(z, group) for z in (ids, ids_b))
    if options.form == "sigmoid":
        term = contrast(a, all_b, all_key_b, options, key_a=key_a, pair_id=ids, pair_id_b=all_ids_b, **more)
        return _share(term, int((key_b >= 0).sum()), world, group)
    one_way = replace(options, reduce="one_way")
    weight = 0.5 if options.reduce == "half_sum" else 1.0
    rows = contrast(a, all_b, all_key_b, one_way, key_a=key_a, pair_id=ids, pair_id_b=all_ids_b, **more)
    rows = _share(rows, rows.count, world, group)
    if options.reduce == "one_way":
        return rows
    columns = contrast(b, all_a, all_key_a, one_way, key_a=key_b, pair_id=ids_b, pair_id_b=all_ids, **more)
    columns = _share(columns, columns.count, world, group)
    return Term(weight * (rows.value + columns.value), rows.count)


def _share(term: Term, count: int, world: int, group: Any) -> Term:
    """Turn a mean over `count` local items into this process's share of the mean over all of them."""
    total = sum(_sizes(count, group, term.value.device))
    return Term(term.value * (count * world / total), term.count) if total else term
