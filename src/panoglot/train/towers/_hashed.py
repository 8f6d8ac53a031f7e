"""A text tower without depth: words and character trigrams hashed into a table, averaged, one hidden layer."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

from torch import Tensor, nn

from panoglot.train.towers._tokens import pad_tokens

__all__ = ["HashTokens", "HashedText"]


class HashTokens:
    """Words, and trigrams of characters within words, to one of `size` ids. Works for every script; order is lost.

    Args:
        size: of the table; id 0 is padding.
        length: most ids of a text; longer texts are cut and counted.
    """

    def __init__(self, size: int = 1 << 14, length: int = 512) -> None:
        self.size, self.length, self.cut = size, length, 0

    def ids(self, text: str) -> list[int]:
        """Return the ids of one text."""
        words = unicodedata.normalize("NFKC", text).casefold().split()
        parts = [p for w in words for p in (w, *(f"\x1f{w}\x1f"[i : i + 3] for i in range(len(w))))]
        if len(parts) > self.length:
            self.cut += 1
        return [
            1
            + int.from_bytes(hashlib.blake2b(p.encode("utf-8", "replace"), digest_size=6).digest(), "big")
            % (self.size - 1)
            for p in parts[: self.length]
        ]

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask, padded to the longest."""
        return pad_tokens([self.ids(t) for t in texts])


class HashedText(nn.Module):
    """Texts to one vector and to token vectors.

    Args:
        width: of the vectors.
        size: of the table.
        length: most ids of a text.
    """

    def __init__(self, width: int = 256, size: int = 1 << 14, length: int = 512) -> None:
        super().__init__()
        self.tokens, self.width = HashTokens(size, length), width
        self.embed = nn.Embedding(size, width, padding_idx=0)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, ids: Tensor, mask: Tensor, langs: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
        """Encode ids [M, L] with mask [M, L]; returns [M, width] and [M, L, width]."""
        x = self.embed(ids)
        real = mask[..., None].to(x.dtype)
        return self.mlp((x * real).sum(1) / real.sum(1).clamp(min=1).sqrt()), x
