"""Boxes of a query decoder against described boxes (GRAIN): Hungarian matching, L1 and generalised IoU."""

from __future__ import annotations

import torch
from torch import Tensor

from panoglot.errors import require
from panoglot.networks._records import Term
from panoglot.networks.losses._nothing import nothing

__all__ = ["box", "generalised_iou", "match_boxes"]


def _corners(boxes: Tensor) -> Tensor:
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return GIoU in (-1, 1] of boxes [..., 4] as (x0, y0, x1, y1), broadcast.

    >>> import torch
    >>> generalised_iou(torch.tensor([0, 0, .5, .5]), torch.tensor([.5, .5, 1, 1])).item()
    -0.5
    """
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inner = (high - low).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    tiny = torch.finfo(union.dtype).tiny
    return inner / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)


@torch.no_grad()
def match_boxes(predicted: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Assign queries to targets at the least total cost 5·L1 - 2·GIoU, image by image.

    Args:
        predicted: [B, Q, 4] cx, cy, w, h in 0..1.
        target: [B, R, 4].
        mask: [B, R] bool, which targets exist; those without width or height never do.

    Returns:
        (image, query, target) indices of the matches, sorted by image, then by target. With more targets than queries
        the best-fitting ones are matched.
    """
    solve = require("scipy.optimize", "scipy", "matching boxes").linear_sum_assignment
    real = mask.bool() & (target[..., 2:] > 0).all(-1)
    found: list[tuple[int, int, int]] = []
    for i in real.any(1).nonzero()[:, 0].tolist():
        at = real[i].nonzero()[:, 0]
        p, t = predicted[i].double(), target[i, at].double()
        cost = 5 * torch.cdist(p, t, p=1) - 2 * generalised_iou(_corners(p)[:, None], _corners(t)[None])
        query, place = solve(cost.cpu().numpy())
        found += sorted((i, int(q), int(at[k])) for q, k in zip(query, place, strict=True))
    found.sort(key=lambda m: (m[0], m[2]))
    table = torch.tensor(found, dtype=torch.long, device=predicted.device).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def box(predicted: Tensor, target: Tensor, mask: Tensor, matches: tuple[Tensor, Tensor, Tensor] | None = None) -> Term:
    """L1 + (1 - GIoU) of the matched boxes, each summed and divided by the number of boxes.

    Args:
        predicted: [B, Q, 4] cx, cy, w, h in 0..1.
        target: [B, R, 4].
        mask: [B, R] bool.
        matches: from `match_boxes`, when it is needed elsewhere too.

    Source: GRAIN arXiv 2412.04429; its release multiplies the sum by 1.5, which here is the weight of the loss.
    """
    i, q, t = match_boxes(predicted, target, mask) if matches is None else matches
    if not len(i):
        return nothing(predicted)
    p, want = predicted[i, q], target[i, t].to(predicted.dtype)
    distance = (p - want).abs().sum() + (1 - generalised_iou(_corners(p), _corners(want))).sum()
    return Term(distance / len(i), len(i))
