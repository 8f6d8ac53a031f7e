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
from panoglot.networks._contrast import ContrastOptions, contrast
from panoglot.networks._records import Term

__all__ = ["gather_rows", "pooled_contrast", "pooled_mean", "pooled_queries", "pooled_share"]


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
    def backward(ctx: Any, grad: Tensor) -> Any:
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
    apply: Any = _Gather.apply  # which torch gives no types
    found: Tensor = apply(x, _sizes(len(x), group, x.device), group)
    return found


@torch.no_grad()
def pooled_mean(x: Tensor) -> Tensor:
    """Return the mean [D] of the rows [n, D] of all processes; their counts may differ. Without gradient."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return x.mean(0)
    total = torch.cat([x.double().sum(0), x.new_tensor([len(x)], dtype=torch.float64)])
    dist.all_reduce(total)
    return (total[:-1] / total[-1]).to(x.dtype)


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
    if torch.is_autocast_enabled(a.device.type):  # bfloat16 has no room for a softmax over a large pool
        given: dict[str, Any] = {"scale": scale, "bias": bias, "pair_id": pair_id, "slot": slot, "group": group}
        with torch.autocast(a.device.type, enabled=False):
            return pooled_contrast(a.float(), b.float(), owner, options, **given)
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
        whole = contrast(all_a, all_b, all_key_b, options, pair_id=whole_ids, slot=slots, **more)
        return Term(whole.value, whole.count * (rank + 1) // world - whole.count * rank // world)
    all_ids, all_ids_b = (None if z is None else gather_rows(z, group) for z in (ids, ids_b))
    if options.form == "sigmoid":
        term = contrast(a, all_b, all_key_b, options, key_a=key_a, pair_id=ids, pair_id_b=all_ids_b, **more)
        # the mean is over positives; the count is that of the rows, as in one process
        return Term(pooled_share(Term(term.value, int((key_b >= 0).sum())), group)[0].value, term.count)
    one_way = replace(options, reduce="one_way")
    weight = 0.5 if options.reduce == "half_sum" else 1.0
    rows = contrast(a, all_b, all_key_b, one_way, key_a=key_a, pair_id=ids, pair_id_b=all_ids_b, **more)
    rows, _ = pooled_share(rows, group)
    if options.reduce == "one_way":
        return rows
    columns = contrast(b, all_a, all_key_a, one_way, key_a=key_b, pair_id=ids_b, pair_id_b=all_ids, **more)
    columns, _ = pooled_share(columns, group)
    return Term(weight * (rows.value + columns.value), rows.count)


def pooled_queries(
    a: Tensor,
    b: Tensor,
    key_a: Tensor,
    key_b: Tensor,
    options: ContrastOptions,
    *,
    pair_id: Tensor | None = None,
    pair_id_b: Tensor | None = None,
    scale: Tensor | float = 1.0,
    a_mask: Tensor | None = None,
    b_mask: Tensor | None = None,
    group: Any = None,
) -> Term:
    """`contrast` one way: this process's queries among the candidates of all processes of `group`.

    Args:
        a: [n, D] queries, or [n, La, D] for `maxsim`; none at all is fine, but every process must call.
        b: [m, D] or [m, Lb, D] candidates.
        key_a: [n] names; key_b: [m] the same for candidates, -1: a negative for all. Unique within the process.
        options: with `reduce="one_way"`.
        pair_id: [n] equal for duplicates, pair_id_b: [m]; the same numbers on every process, negative ones excepted.
        scale: learned scale.
        a_mask: [n, La]; b_mask: [m, Lb], which tokens exist.
        group: of processes.

    Returns:
        This process's share, as from `pooled_contrast`.
    """
    more: dict[str, Any] = {"scale": scale, "a_mask": a_mask, "pair_id": pair_id}
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size(group) == 1:
        return contrast(a, b, key_b, options, key_a=key_a, pair_id_b=pair_id_b, b_mask=b_mask, **more)
    far = dist.get_rank(group) << 40
    key_a, key_b = key_a + far, torch.where(key_b >= 0, key_b + far, -1)
    if b_mask is not None:
        length = max(_sizes(b.shape[1], group, b.device))
        b = torch.nn.functional.pad(b, (0, 0, 0, length - b.shape[1]))
        b_mask = gather_rows(
            torch.nn.functional.pad(b_mask, (0, length - b_mask.shape[1])).to(torch.uint8), group
        ).bool()
    if pair_id_b is not None:
        pair_id_b = gather_rows(torch.where(pair_id_b < 0, pair_id_b - far, pair_id_b), group)
    all_b, all_key_b = gather_rows(b, group), gather_rows(key_b, group)
    term = contrast(a, all_b, all_key_b, options, key_a=key_a, pair_id_b=pair_id_b, b_mask=b_mask, **more)
    return pooled_share(term, group)[0]


def pooled_share(term: Term, group: Any = None) -> tuple[Term, int]:
    """Return this process's share of a mean over items, and over how many items of all processes it is.

    The mean of the shares over the processes is the mean over all items, not the mean of means. Every process must
    call, with or without items.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size(group) == 1:
        return term, term.count
    total = sum(_sizes(term.count, group, term.value.device))
    return Term(term.value * (term.count * dist.get_world_size(group) / max(1, total)), term.count), total
