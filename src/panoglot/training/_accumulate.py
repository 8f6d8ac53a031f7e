"""A batch as large as you like with the towers' memory of one micro-batch: by features for contrast, else by counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Term

__all__ = ["accumulate", "accumulate_plain", "side_by_side"]

T = TypeVar("T")


def _random_state() -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _replay(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def accumulate(
    encode: Callable[[T], Sequence[Tensor]],
    micro_batches: Sequence[T],
    loss: Callable[..., Term],
    *,
    modules: Iterable[nn.Module] = (),
    factor: float = 1.0,
    check: bool = False,
) -> Term:
    """Add to every `.grad` what one big batch would have added, and return its loss.

    The towers run without gradient over all micro-batches; the loss over all features gives the gradients of the
    features; the towers run again, one micro-batch at a time and with the same random state, and pass these on. The
    loss is computed once, so what it learns itself (scale, bias) gets its gradient once. (Schemes that compute the
    loss anew for every micro-batch, against stored features, give the scale as many times its gradient as there are
    micro-batches.)

    Args:
        encode: micro-batch → features, each [b, …]; called twice with equal random state.
        micro_batches: the big batch in pieces.
        loss: called with the features, each [Σ b, …]; runs the contrast.
        modules: the towers, to be checked: batch normalisation in training mode would see another batch.
        factor: multiplies the gradients, not the returned value (loss scaling).
        check: compare the features of the two runs bit by bit.

    Raises:
        UserError: a tower has batch normalisation in training mode; the second run differs from the first (`check`).

    Source: BASIC arXiv 2111.10050, GradCache 2101.06983, M2-Encoder 2401.15896.
    """
    for module in modules:
        for name, part in module.named_modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training:
                raise UserError(
                    f"Feature accumulation cannot be used with batch normalisation ('{name}'): its statistics would be "
                    "those of a micro-batch. Call .eval() on it, freeze it, or use accumulate: 1."
                )
    states, stored = [], []
    with torch.no_grad():
        for piece in micro_batches:
            states.append(_random_state())
            stored.append([f.detach() for f in encode(piece)])
    leaves = [torch.cat(parts).requires_grad_() for parts in zip(*stored, strict=True)]
    term = loss(*leaves)
    (term.value * factor).backward()
    place = [0] * len(leaves)
    for piece, state, seen in zip(micro_batches, states, stored, strict=True):
        _replay(state)
        features = encode(piece)
        live: list[tuple[Tensor, Any]] = []
        for k, (f, before) in enumerate(zip(features, seen, strict=True)):
            if check and not torch.equal(f.detach(), before):
                raise UserError("The towers gave other features in the second run: something random is not replayed.")
            grad = leaves[k].grad
            if grad is not None and f.requires_grad:
                live.append((f, grad[place[k] : place[k] + len(f)]))
            place[k] += len(f)
        if live:
            torch.autograd.backward([f for f, _ in live], [g for _, g in live])
    return Term(term.value.detach(), term.count)


def accumulate_plain(
    net: Callable[[Batch], dict[str, Term]],
    pieces: Sequence[Batch],
    weights: Mapping[str, float],
    processes: Any,
    cast: Callable[[], Any] = nullcontext,
) -> tuple[dict[str, Term], dict[str, int]]:
    """Add to every `.grad` what one big batch would have added, for losses that are means over their items.

    A mean of means is not the mean: every micro-batch counts by its items (its tokens, for language modelling). With
    one loss its gradients are summed and divided at the end; with several, whose counts differ from each other, a first
    run without gradient counts.

    Args:
        net: micro-batch → losses; DDP's wrapper in a run of several processes.
        pieces: the micro-batches of this process.
        weights: of the losses.
        processes: of the run.
        cast: context of the forward pass.

    Returns:
        The losses, such that their mean over the processes is that of the whole batch, and their counts over all.
    """
    names = list(weights)
    if len(names) == 1:
        factors = {names[0]: 1.0}
    else:
        local = dict.fromkeys(names, 0)
        with torch.no_grad():
            state = _random_state()
            for piece in pieces:
                with cast():
                    for name, term in net(piece).items():
                        local[name] += term.count
            _replay(state)
        factors = {n: processes.world / max(1.0, c) for n, c in zip(names, processes.sum(local.values()), strict=True)}
    sums = {n: torch.zeros(()) for n in names}
    counts = dict.fromkeys(names, 0)
    for i, piece in enumerate(pieces):
        with processes.alone(net) if i + 1 < len(pieces) else nullcontext():
            with cast():
                terms = net(piece)
            for n, t in terms.items():
                counts[n] += t.count
                sums[n] = sums[n].to(t.value.device) + t.value.detach().double() * t.count
            total = sum(weights[n] * t.value * (t.count * factors[n]) for n, t in terms.items())
            if isinstance(total, Tensor) and total.requires_grad:
                total.backward()
    everywhere = {n: int(c) for n, c in zip(names, processes.sum(counts.values()), strict=True)}
    scale = {n: processes.world / max(1, everywhere[n]) for n in names}
    if len(names) == 1:
        for p in net.parameters():  # type: ignore[attr-defined]
            if p.grad is not None:
                p.grad.mul_(scale[names[0]])
    return {n: Term(sums[n] * scale[n], counts[n]) for n in names}, everywhere


def side_by_side(pieces: Sequence[Batch]) -> Batch:
    """Return what the kernel needs of micro-batches side by side."""
    slots = max(p.slot_mask.shape[1] for p in pieces if p.slot_mask is not None)
    masks = [
        torch.nn.functional.pad(p.slot_mask, (0, slots - p.slot_mask.shape[1]))
        for p in pieces
        if p.slot_mask is not None
    ]
    ids = [i for p in pieces for i in p.ids]
    return Batch(
        ids, slot_mask=torch.cat(masks), pair_id=torch.cat([p.pair_id for p in pieces if p.pair_id is not None])
    )
