"""Regression of a teacher's features (DC-CLIP's first stage, M-CLIP, DPR-XM)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from panoglot.errors import UserError, did_you_mean
from panoglot.networks._records import Term
from panoglot.networks.losses._nothing import nothing

__all__ = ["regress"]

KINDS = ("smoothl1", "mse", "cosine")


def regress(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, kind: str = "smoothl1", beta: float = 1.0
) -> Term:
    """Distance to the teacher's pooled vectors [B, D], tokens [B, L, D] or maps [B, C, H, W] as [B, H·W, C].

    Args:
        student: after its adapter, in the teacher's shape.
        teacher: no gradient passes.
        mask: student.shape[:-1] bool: which positions exist; padding never counts.
        kind: `smoothl1` (½d²/β below β, |d| - ½β above), `mse`, or `cosine` (1 - cos).
        beta: of `smoothl1`.

    Raises:
        UserError: shapes that differ (tokens of another tokeniser do not correspond: regress pooled vectors then).

    Source: DC-CLIP arXiv 2404.11249.

    >>> import torch
    >>> [float(regress(torch.full((1, 1), d), torch.zeros(1, 1)).value) for d in (.5, 2.)]
    [0.125, 1.5]
    """
    if kind not in KINDS:
        raise UserError(f"regress: kind={kind!r} is not known.{did_you_mean(kind, KINDS)}")
    if student.shape != teacher.shape:
        raise UserError(
            f"regress: student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ. "
            "Where the tokenisers differ, only pooled vectors [B, D] can be compared."
        )
    if mask is not None:
        student, teacher = student[mask], teacher[mask]
    if not student.numel():
        return nothing(student)
    teacher, count = teacher.detach().to(student.dtype), student.numel() // student.shape[-1]
    if kind == "cosine":
        return Term((1 - F.cosine_similarity(student, teacher, dim=-1)).mean(), count)
    value = F.mse_loss(student, teacher) if kind == "mse" else F.smooth_l1_loss(student, teacher, beta=beta)
    return Term(value, count)
