"""What a bridge is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

__all__ = ["Asked", "Bridge"]


@dataclass
class Asked:
    """What a bridge may read of a batch.

    Attributes:
        prompt: [B, L, width] embeddings of what the language model is given.
        prompt_mask: [B, L] bool: texts that are given; what it is to write is not among them.
        boxes: [B, R, 4] cx, cy, w, h in 0..1 of the regions that are asked about, or None.
        region_mask: [B, R] bool.
        batch: the rest.
    """

    prompt: Tensor
    prompt_mask: Tensor
    boxes: Tensor | None
    region_mask: Tensor | None
    batch: Any


class Bridge(nn.Module):
    """Changes the tokens of a picture, or adds some, before the language model reads them.

    Attributes:
        reads: what an item must have, of `panoglot.networks.parts.READS`.
        more: how many tokens it adds to a picture: the language model keeps places for them.
    """

    reads: tuple[str, ...] = ()
    more = 0

    def forward(self, media: Tensor, real: Tensor, asked: Asked) -> tuple[Tensor, Tensor]:
        """Return tokens [B, T, N', width] and which are real [B, T, N'], of media [B, T, N, width]."""
        raise NotImplementedError
