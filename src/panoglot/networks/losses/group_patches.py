"""Every sentence pulls the patches it speaks of (DreamLIP's grouping loss)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from panoglot.errors import UserError
from panoglot.networks._contrast import ContrastOptions
from panoglot.networks._pool import gather_rows, pooled_contrast
from panoglot.networks._records import Term
from panoglot.networks.losses._nothing import nothing

__all__ = ["group_patches", "grouped_patches"]


def grouped_patches(
    patches: Tensor, texts: Tensor, *, delta: float | None = None, norm: str = "minmax"
) -> tuple[Tensor, Tensor]:
    """Return the patch mean of every text, [B, K, D] unit vectors, and its weights [B, K, N] (≥ 0, sum 1).

    Similarities are normalised over the patches (`minmax` or `softmax`), those below `delta` are cut to 0, the rest is
    divided by its sum. Gradients flow through the weights. Where nothing is left, or all patches are alike, the weights
    are even.

    Args:
        patches: [B, N, D] unit vectors.
        texts: [B, K, D] unit vectors.
        delta: threshold in [0, 1]; None is 1/N.
        norm: how similarities become values in 0..1.

    >>> import torch
    >>> v, t = torch.tensor([[[1., 0], [.8, .6], [0, 1]]]), torch.tensor([[[1., 0]]])
    >>> g, w = grouped_patches(v, t)
    >>> [round(x, 4) for x in w.flatten().tolist()], [round(x, 6) for x in g.flatten().tolist()]
    ([0.5556, 0.4444, 0.0], [0.959737, 0.280899])
    """
    delta = 1 / patches.shape[1] if delta is None else delta
    if not 0 <= delta <= 1:
        raise UserError(f"group_patches: delta={delta} must be in 0..1; above 1 every weight would vanish.")
    if norm not in ("minmax", "softmax"):
        raise UserError(f"group_patches: norm={norm!r} must be 'minmax' or 'softmax'.")
    sim = texts @ patches.transpose(1, 2)  # [B, K, N]
    if norm == "softmax":
        value = sim.softmax(-1)
    else:
        low, high = sim.amin(-1, keepdim=True), sim.amax(-1, keepdim=True)
        value = (sim - low) / (high - low + 1e-10)
    value = value.masked_fill(value < delta, 0.0)
    total = value.sum(-1, keepdim=True)
    empty = total <= 0
    weight = torch.where(empty, torch.full_like(value, 1 / value.shape[-1]), value / total.masked_fill(empty, 1.0))
    return F.normalize(weight @ patches, dim=-1), weight


def group_patches(
    patches: Tensor,
    texts: Tensor,
    slot_mask: Tensor,
    *,
    scale: Tensor | float,
    delta: float | None = None,
    norm: str = "minmax",
    chunk: int | None = None,
    pair_id: Tensor | None = None,
    group: Any = None,
) -> Term:
    """CLIP's loss between every sentence and its own patch mean, over all sentences of the batch.

    Args:
        patches: [B, N, D] unit vectors.
        texts: [B, K, D] unit vectors.
        slot_mask: [B, K] bool, which texts exist.
        scale: its own learned scale.
        delta: see `grouped_patches`.
        norm: see `grouped_patches`.
        chunk: rows a tile.
        pair_id: [B] equal for duplicate images: their sentences are no negatives of each other. The other sentences of
            an image that is there once are, as in the paper.
        group: of processes whose sentences meet (see `pooled_contrast`).

    Source: DreamLIP arXiv 2403.17007, sub-caption-specific grouping. The release stacks texts slot-major and reads them
    record-major, and has no local scale; neither is so here.
    """
    if not bool(slot_mask.any()) and group is None:
        return nothing(patches, texts)
    grouped, _ = grouped_patches(patches, texts, delta=delta, norm=norm)
    ids = None if pair_id is None else _excluded(pair_id, slot_mask, group)
    options = ContrastOptions(chunk=chunk)
    return pooled_contrast(grouped[slot_mask], texts[slot_mask], None, options, scale=scale, pair_id=ids, group=group)


def _excluded(pair_id: Tensor, slot_mask: Tensor, group: Any) -> Tensor:
    """Return a number for each sentence, [M], equal for those that are no negatives of each other."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    every = gather_rows(pair_id[:, None], group)[:, 0] if together else pair_id
    once = (every == pair_id[:, None]).sum(1) == 1
    record, slot = slot_mask.nonzero().unbind(1)
    return torch.where(once[record], -1 - (pair_id[record] * slot_mask.shape[1] + slot), pair_id[record])
