"""Rebuilding what was hidden: pixels of masked patches (SyCoCa), visual features (Croc)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from panoglot.errors import UserError
from panoglot.networks._records import Term
from panoglot.networks.losses._nothing import nothing

__all__ = ["attentive_masks", "patchify", "recon_feat", "recon_px"]


def attentive_masks(relevance: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Return (patches kept for captioning, patches hidden for inpainting), bool [B, N].

    Captioning hides the least relevant patches, so that the caption is written from what it speaks of; inpainting hides
    the most relevant ones, so that the text is needed. ⌊N·ratio⌋ patches are hidden, at least one and never all. Equal
    relevance: the earlier patch counts as the more relevant. No gradient passes.

    Args:
        relevance: [B, N] similarity of patch and text. Give noise for random masks, the negative for inverse ones.
        ratio: share of patches hidden, in (0, 1).

    >>> import torch
    >>> keep, hide = attentive_masks(torch.tensor([[.9, .1, .5, .3]]), 0.5)
    >>> keep.tolist(), hide.tolist()
    ([[True, False, True, False]], [[True, False, True, False]])
    """
    if not 0 < ratio < 1:
        raise UserError(f"A mask ratio must be between 0 and 1, got {ratio}.")
    n = relevance.shape[1]
    if n < 2:
        raise UserError("Masking needs at least two patches.")
    hidden = min(n - 1, max(1, int(n * ratio)))
    order = relevance.detach().argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(n, device=order.device).expand_as(order))
    return rank < n - hidden, rank < hidden


def patchify(image: Tensor, patch: int) -> Tensor:
    """Cut [B, C, H, W] into [B, N, patch²·C], row by row.

    Raises:
        UserError: the sides are no multiples of `patch`.
    """
    if image.shape[-1] % patch or image.shape[-2] % patch:
        raise UserError(f"A picture of {tuple(image.shape[-2:])} cannot be cut into patches of {patch}.")
    return F.unfold(image, patch, stride=patch).transpose(1, 2)


def recon_px(predicted: Tensor, target: Tensor, hidden: Tensor, *, normalise: bool = True, power: int = 1) -> Term:
    """Mean |error| over the hidden patches only.

    Args:
        predicted: [B, N, P] what the image decoder painted.
        target: [B, N, P] pixels, from `patchify`.
        hidden: [B, N] bool.
        normalise: compare with pixels of zero mean and unit deviation in each patch.
        power: 1 for L1, 2 for squares.

    Source: SyCoCa arXiv 2401.02137 (text-guided masked image modelling).
    """
    if not bool(hidden.any()):
        return nothing(predicted)
    want, got = target[hidden].detach(), predicted[hidden]
    if normalise:
        want = (want - want.mean(-1, keepdim=True)) / (want.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    return Term((got - want).abs().pow(power).mean(), len(got))


def recon_feat(predicted: Tensor, target: Tensor, mask: Tensor | None = None, *, beta: float = 0.01) -> Term:
    """Smooth L1 between rebuilt and true visual features; the target carries no gradient.

    Args:
        predicted: [B, N, D].
        target: [B, N, D].
        mask: [B, N] bool, the positions that count (all of an image, or only the replaced ones); None is all.
        beta: where the square ends and the straight line begins.

    Source: Croc arXiv 2410.14332 (weight 10).

    >>> import torch
    >>> [round(float(recon_feat(torch.full((1, 1, 1), d), torch.zeros(1, 1, 1)).value), 5) for d in (.005, .1)]
    [0.00125, 0.095]
    """
    if mask is not None:
        predicted, target = predicted[mask], target[mask]
    if not predicted.numel():
        return nothing(predicted)
    value = F.smooth_l1_loss(predicted, target.detach(), beta=beta)
    return Term(value, predicted.numel() // predicted.shape[-1])
