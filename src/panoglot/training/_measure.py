"""The trainer's own measure: recall at k between held-out pictures and texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["ranks", "recall"]


def recall(x: Tensor, y: Tensor, owner: Tensor, ks: Sequence[int] = (1, 5, 10), chunk: int = 1024) -> dict[str, float]:
    """Return text→image and image→text recall at k: the share of queries with any positive among the first k.

    Ties count against the model: an equal score of a wrong item stands before the right one.

    Args:
        x: [N, D] pictures.
        y: [M, D] texts.
        owner: [M] the picture of each text.
        ks: how far to look.
        chunk: queries a tile.

    >>> x = torch.eye(3)
    >>> recall(x, x[[0, 2, 1]], torch.arange(3), ks=[1, 3])["t2i@1"]
    0.3333333333333333
    """
    t2i, i2t, _ = ranks(x, y, owner, chunk)
    out = {f"t2i@{k}": float((t2i < k).double().mean()) for k in ks}
    return out | {f"i2t@{k}": float((i2t < k).double().mean()) for k in ks}


def ranks(x: Tensor, y: Tensor, owner: Tensor, chunk: int = 1024) -> tuple[Tensor, Tensor, Tensor]:
    """Return how many wrong items stand before the right one: of every text [M], of the pictures with texts [P], and
    which pictures these are [P].

    >>> [r.tolist() for r in ranks(torch.eye(3), torch.eye(3)[[0, 2]], torch.tensor([0, 1]))]
    [[0, 2], [0, 1], [0, 1]]
    """
    ranks_t, ranks_i, has = [], [], []
    for c in torch.arange(len(y)).split(chunk):
        scores = y[c] @ x.T
        right = scores.gather(1, owner[c, None])
        ranks_t.append((scores >= right).sum(1) - 1)
    for c in torch.arange(len(x)).split(chunk):
        scores, mine = x[c] @ y.T, c[:, None] == owner
        best = scores.masked_fill(~mine, float("-inf")).amax(1, keepdim=True)
        rank = ((scores >= best) & ~mine).sum(1)
        ranks_i.append(rank[mine.any(1)])
        has.append(c[mine.any(1)])
    return torch.cat(ranks_t), torch.cat(ranks_i), torch.cat(has)
