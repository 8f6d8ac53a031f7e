"""Self-distillation between views of one picture (DINO, as RS-M-CLIP uses it)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Term
from panoglot.networks.losses._nothing import nothing

__all__ = ["Centre", "views"]


class Centre(nn.Module):
    """The running mean of the teacher's scores, [K]: it keeps one prototype from taking everything."""

    value: Tensor

    def __init__(self, prototypes: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(prototypes))

    @torch.no_grad()
    def update(self, teacher: Tensor) -> None:
        """Move towards the mean of scores [..., K]: c ← m·c + (1 - m)·mean."""
        self.value.lerp_(teacher.flatten(0, -2).mean(0).to(self.value.dtype), 1 - self.momentum)


def views(
    student: Tensor,
    teacher: Tensor,
    centre: Tensor | float = 0.0,
    *,
    tau_student: float = 0.1,
    tau_teacher: float = 0.04,
) -> Term:
    """Mean over (teacher view g, student view v ≠ g) of -Σ P_t log P_s.

    Args:
        student: [V, B, K] prototype scores of all views; the first G are the teacher's views, in its order.
        teacher: [G, B, K] prototype scores of the global views; no gradient passes.
        centre: [K], subtracted from the teacher's scores.
        tau_student: temperature.
        tau_teacher: temperature; lower is sharper.

    Raises:
        UserError: one view only: there is nothing to compare it with.

    Source: DINO's loss with the constants of the RS-M-CLIP card (arXiv 2410.23370).

    >>> import torch
    >>> z = torch.tensor([1., 0, 0]).expand(2, 1, 3).double()
    >>> f"{float(views(z, z[:1]).value):.4e}"
    '9.0796e-05'
    """
    if len(student) < 2 or len(teacher) > len(student):
        raise UserError(
            f"views: {len(teacher)} teacher and {len(student)} student views leave nothing to compare; "
            "give two global views, or local ones."
        )
    if not student[0].numel():
        return nothing(student)
    target = ((teacher.detach() - centre) / tau_teacher).softmax(-1)
    logp = (student / tau_student).log_softmax(-1)
    each = -torch.einsum("gbk,vbk->gvb", target, logp)
    other = ~torch.eye(len(teacher), len(student), dtype=torch.bool, device=student.device)
    return Term(each[other].mean(), student.shape[1])
