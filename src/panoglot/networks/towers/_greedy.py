"""Writing with the likeliest token."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["greedy"]


def greedy(scores: Callable[[Tensor], Tensor], ids: Tensor, end: int, pad: int, most: int) -> Tensor:
    """Append the likeliest token to every row until all have ended or have `most` new ones.

    Args:
        scores: ids [B, L] → scores [B, vocabulary] of what comes next.
        ids: [B, S] to begin with.
        end: the token that ends a row; what follows it is `pad`.
        pad: the padding.
        most: new tokens.

    Returns:
        ids [B, S + new].
    """
    done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    length = ids.shape[1] + most
    while ids.shape[1] < length and not bool(done.all()):
        following = scores(ids).argmax(-1).masked_fill(done, pad)
        ids = torch.cat([ids, following[:, None]], 1)
        done |= following == end
    return ids
