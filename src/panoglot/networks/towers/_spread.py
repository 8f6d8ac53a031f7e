"""Pictures anywhere in a text, vocabularies that grow, positions of another grid: what is done with embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError

__all__ = ["grown", "spread", "spread_places"]


def spread(
    x: Tensor, at: Tensor, mask: Tensor, media: Tensor, real: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Put the tokens of pictures where the pictures stand.

    Args:
        x: [B, L, width] embeddings; those of places are not used.
        at: [B, L] bool, the places of pictures; the k-th of a row is that of its k-th picture.
        mask: [B, L] bool, what exists.
        media: [B, T, N, width] tokens of pictures.
        real: [B, T, N] bool, which of them exist.

    Returns:
        Embeddings [B, L', width], their mask [B, L'], and where each of the L ends [B, L].

    Raises:
        UserError: more places than pictures.

    >>> x, there, ends = spread(torch.tensor([[[1.], [0], [2]]]), torch.tensor([[False, True, False]]),
    ...                         torch.ones(1, 3).bool(), torch.tensor([[[[7.], [8]]]]))
    >>> x[0, :, 0].tolist(), ends.tolist()
    ([1.0, 7.0, 8.0, 2.0], [[0, 2, 3]])
    """
    n, length = media.shape[2], at.shape[1]
    if int(at.sum(1).max()) > media.shape[1]:
        raise UserError(f"A text has places for {int(at.sum(1).max())} pictures, and {media.shape[1]} are there.")
    ends = torch.where(at, n, 1).cumsum(1)
    slots = torch.arange(int(ends[:, -1].max()), device=at.device).expand(len(at), -1)
    source = torch.searchsorted(ends, slots.contiguous(), right=True).clamp(max=length - 1)
    pictured = at.gather(1, source)
    which = (at.long().cumsum(1) - 1).clamp(min=0).gather(1, source)
    place = (slots - torch.where(at, ends - n, ends - 1).gather(1, source)).clamp(min=0, max=n - 1)
    rows = torch.arange(len(at), device=at.device)[:, None]
    out = torch.where(pictured[..., None], media[rows, which, place].to(x.dtype), x[rows, source])
    there = mask.gather(1, source) & (slots < ends[:, -1:])
    if real is not None:
        there = there & (~pictured | real[rows, which, place])
    return out, there, ends - 1


def grown(table: nn.Embedding, size: int) -> nn.Embedding:
    """Return an embedding of `size` ids; those that are new begin as the mean of the others."""
    out = nn.Embedding(size, table.embedding_dim)
    with torch.no_grad():
        out.weight[: table.num_embeddings] = table.weight
        out.weight[table.num_embeddings :] = table.weight.mean(0)
    return out


def spread_places(place: Tensor, grid: int, rows: int, columns: int) -> Tensor:
    """Return positions [1 + rows·columns, width], those of a class token first, of positions [1 + grid², width]."""
    if rows == columns == grid:
        return place
    whole = place[1:].T.reshape(1, place.shape[1], grid, grid)
    whole = F.interpolate(whole, (rows, columns), mode="bicubic", align_corners=False)
    return torch.cat([place[:1], whole.flatten(2)[0].T])
