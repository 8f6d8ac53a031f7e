"""Tokenisers of the small towers. What does not fit is cut, counted and told, never silently."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from panoglot.errors import UserError

__all__ = ["ByteTokens", "CharTokens", "pad_tokens", "spliced"]

PAD, START, END = 0, 1, 2


def pad_tokens(rows: Sequence[Sequence[int]], length: int | None = None) -> tuple[Tensor, Tensor]:
    """Return ids [M, L], padded with 0, and the mask of what is real."""
    length = length or max((len(r) for r in rows), default=0)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(list(row), dtype=torch.long)
        mask[i, : len(row)] = True
    return ids, mask


def spliced(words: Tensor, soft: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return embedded words [M, L, width] with vectors [K, width] in the K places [M, L] of `soft`, row by row.

    >>> where = torch.tensor([[False, True]])
    >>> spliced(torch.zeros(1, 2, 1), (where, torch.ones(1, 1))).tolist()
    [[[0.0], [1.0]]]
    """
    if soft is None:
        return words
    where, vectors = soft
    return words.index_put((where,), vectors.to(words.dtype))


class ByteTokens:
    """UTF-8 bytes between a start and an end token: every language, 259 ids.

    Attributes:
        size: of the vocabulary.
        start, end: the tokens around every text.
        length: most tokens of a text.
        cut: how many texts were cut so far; cuts fall between characters, the end token stays.

    >>> t = ByteTokens(8)
    >>> ids, mask = t(["né", "a longer one"])
    >>> ids[0].tolist(), t.decode(ids[0]), t.cut
    ([1, 113, 198, 172, 2, 0, 0, 0], 'né', 1)
    """

    size, start, end = 259, START, END

    def __init__(self, length: int = 77) -> None:
        if length < 3:
            raise UserError(f"A text of {length} tokens holds no text.")
        self.length, self.cut = length, 0

    def ids(self, text: str) -> list[int]:
        """Return the ids of one text."""
        raw = text.encode("utf-8", "replace")
        room = self.length - 2
        if len(raw) > room:
            self.cut += 1
            raw = raw[:room].decode("utf-8", "ignore").encode()
        return [START, *(b + 3 for b in raw), END]

    def whole(self, text: str) -> int:
        """Return how many tokens the whole text has."""
        return len(text.encode("utf-8", "replace")) + 2

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask, padded to the longest."""
        return pad_tokens([self.ids(t) for t in texts])

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Return the text of ids; special tokens are left out."""
        values = ids.tolist() if isinstance(ids, Tensor) else ids
        return bytes(i - 3 for i in values if i > END).decode("utf-8", "replace")


class CharTokens:
    """Characters of an alphabet; one more id for what is not in it (the release looks those up at -1).

    Args:
        alphabet: the characters; None is printable ASCII. Use `ByteTokens` for other languages than English.
        length: most characters; longer texts are cut and counted.
    """

    def __init__(self, alphabet: str | None = None, length: int = 400) -> None:
        import string

        self.alphabet = string.printable if alphabet is None else alphabet
        self.length, self.cut = length, 0
        self._place = {c: i + 1 for i, c in enumerate(self.alphabet)}
        self.size = len(self.alphabet) + 2  # padding, the alphabet, unknown

    def whole(self, text: str) -> int:
        """Return how many tokens the whole text has."""
        return len(text)

    def ids(self, text: str) -> list[int]:
        """Return the ids of one text."""
        if len(text) > self.length:
            self.cut += 1
        return [self._place.get(c, self.size - 1) for c in text[: self.length]]

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask, padded to the longest."""
        return pad_tokens([self.ids(t) for t in texts])
