"""Which tokens of a tokeniser are nothing but punctuation."""

from __future__ import annotations

import string
import unicodedata
from typing import Any

import torch
from torch import Tensor

__all__ = ["punctuation_of"]


def _is_mark(piece: str) -> bool:
    letters = piece.strip("▁Ġ").removesuffix("</w>")
    return bool(letters) and all(c in string.punctuation or unicodedata.category(c)[0] == "P" for c in letters)


def _pieces(tokens: Any) -> dict[str, int]:
    """Piece → id of a tokeniser; of bytes those that are a character alone."""
    tokenizer = getattr(tokens, "tokenizer", None)
    if tokenizer is not None:
        special = {str(one) for one in tokenizer.all_special_tokens}
        return {piece: id_ for piece, id_ in tokenizer.get_vocab().items() if piece not in special}
    if hasattr(tokens, "pieces"):
        return dict(tokens.pieces())
    return {c: tokens.ids(c)[1] for c in string.punctuation if len(tokens.ids(c)) == 3}


def punctuation_of(tokens: Any) -> Tensor:
    """Return the ids of the pieces that have nothing but punctuation of any script, [K]; remembered by the tokeniser.

    >>> from panoglot.networks.towers import ByteTokens
    >>> ids = punctuation_of(ByteTokens())
    >>> len(ids), ByteTokens().decode(ids[:3])
    (32, '!"#')
    """
    found: Tensor | None = getattr(tokens, "_punctuation", None)
    if found is None:
        found = torch.tensor(sorted(id_ for piece, id_ in _pieces(tokens).items() if _is_mark(piece)), dtype=torch.long)
        tokens._punctuation = found
    return found
