"""Scores of a few candidates: n-way choice (ColBERT v1), a teacher's distribution (ColBERT v2, CLIP distillation)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from panoglot.networks._records import Term
from panoglot.networks.losses._nothing import nothing

__all__ = ["kl_logits", "n_way"]


def n_way(scores: Tensor, mask: Tensor | None = None) -> Term:
    """Cross-entropy of choosing candidate 0.

    Args:
        scores: [B, N], the positive first, then the mined negatives.
        mask: [B, N] bool, which candidates exist; rows without a positive or without a negative do not count.

    Source: ColBERT-XM arXiv 2402.15059 (v1 and v1.5).

    >>> import torch
    >>> round(float(n_way(torch.zeros(3, 2)).value), 6)
    0.693147
    """
    mask = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    rows = mask[:, 0] & (mask.sum(1) > 1)
    if not bool(rows.any()):
        return nothing(scores)
    logp = scores[rows].masked_fill(~mask[rows], float("-inf")).log_softmax(1)
    return Term(-logp[:, 0].mean(), int(rows.sum()))


def kl_logits(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, alpha: float = 1.0, symmetric: bool = False
) -> Term:
    """KL(softmax(alpha·teacher) ‖ softmax(student)) over the last dimension, mean over rows.

    Adding a constant to a teacher's row changes nothing; equal distributions give 0.

    Args:
        student: [B, N] scores.
        teacher: [B, N] scores; no gradient passes.
        mask: [B, N] bool, which candidates exist; rows with fewer than two do not count.
        alpha: sharpens the teacher.
        symmetric: N = B in-batch scores: half the sum of the two directions.

    Source: ColBERT v2 (KL to a cross-encoder); open_clip's logit distillation.
    """
    if symmetric:
        there, back = kl_logits(student, teacher, alpha=alpha), kl_logits(student.T, teacher.T, alpha=alpha)
        return Term((there.value + back.value) / 2, there.count)
    mask = torch.ones_like(student, dtype=torch.bool) if mask is None else mask
    rows = mask.sum(1) > 1
    if not bool(rows.any()):
        return nothing(student)
    absent = ~mask[rows]
    logq = student[rows].masked_fill(absent, float("-inf")).log_softmax(1).masked_fill(absent, 0.0)
    logp = (alpha * teacher[rows].detach()).masked_fill(absent, float("-inf")).log_softmax(1)
    each = F.kl_div(logq, logp.masked_fill(absent, -1e30), reduction="none", log_target=True).masked_fill(absent, 0.0)
    return Term(each.sum(1).mean(), int(rows.sum()))
