"""A text tower without depth: words and character trigrams hashed into a table, averaged, one hidden layer."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks.towers._tokens import pad_tokens

__all__ = ["HashTokens", "HashedText"]


@lru_cache(maxsize=1 << 17)  # the same pieces come again and again
def _place(piece: str, size: int) -> int:
    digest = hashlib.blake2b(piece.encode("utf-8", "replace"), digest_size=6).digest()
    return 1 + int.from_bytes(digest, "big") % (size - 1)


class HashTokens:
    """Words, and n-grams of characters within words, to one of `size` ids. Works for every script; order is lost.

    Args:
        size: of the table; id 0 is padding.
        length: most ids of a text; longer texts are cut and counted.
        grams: lengths of the n-grams; 1 and 2 are what scripts without spaces live on.

    >>> [len(HashTokens(grams=g).ids("近い 猫")) for g in ((3,), (1, 2))]  # a border stands before and after each word
    [5, 10]
    """

    def __init__(self, size: int = 1 << 14, length: int = 512, grams: Sequence[int] = (3,)) -> None:
        if not grams or min(grams) < 1:
            raise UserError(f"text hashed: grams={list(grams)} must be lengths of 1 and more.")
        self.size, self.length, self.grams, self.cut = size, length, tuple(grams), 0

    def _parts(self, text: str) -> list[str]:
        words = unicodedata.normalize("NFKC", text).casefold().split()
        return [p for w in words for p in (w, *self._pieces(w))]

    def whole(self, text: str) -> int:
        """Return how many ids the whole text has."""
        return len(self._parts(text))

    def ids(self, text: str) -> list[int]:
        """Return the ids of one text."""
        parts = self._parts(text)
        if len(parts) > self.length:
            self.cut += 1
        return [_place(p, self.size) for p in parts[: self.length]]

    def _pieces(self, word: str) -> Iterator[str]:
        framed = f"\x1f{word}\x1f"
        for n in self.grams:
            yield from (word if n == 1 else (framed[i : i + n] for i in range(len(framed) - n + 1)))

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask, padded to the longest."""
        return pad_tokens([self.ids(t) for t in texts])


class HashedText(nn.Module):
    """Texts to one vector and to token vectors.

    Args:
        width: of the vectors.
        size: of the table.
        length: most ids of a text.
        grams: of the n-grams, see `HashTokens`.
        pooled: only the one vector is made, which is faster; the tokens are [M, 0, width].
    """

    def __init__(
        self,
        width: int = 256,
        size: int = 1 << 14,
        length: int = 512,
        grams: Sequence[int] = (3,),
        pooled: bool = False,
    ) -> None:
        super().__init__()
        self.pooled = pooled
        self.tokens, self.width = HashTokens(size, length, grams), width
        self.embed = nn.Embedding(size, width, padding_idx=0)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, ids: Tensor, mask: Tensor, langs: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
        """Encode ids [M, L] with mask [M, L]; returns [M, width] and [M, L, width]."""
        if self.pooled:
            count = mask.sum(1)
            first = count.cumsum(0) - count
            total = F.embedding_bag(ids[mask], self.embed.weight, first, mode="sum")
            return self.mlp(total / count[:, None].clamp(min=1).sqrt()), total.new_zeros(len(ids), 0, self.width)
        x = self.embed(ids)
        real = mask[..., None].to(x.dtype)
        return self.mlp((x * real).sum(1) / real.sum(1).clamp(min=1).sqrt()), x
