"""Tokens of language models: what is given, what is learnt, where pictures stand, where a text is cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from panoglot.errors import RowError, UserError, require
from panoglot.networks.towers._pretrained import load_pretrained
from panoglot.networks.towers._tokens import END, PAD, START, ByteTokens

__all__ = ["PICTURE", "Pieces", "pieces_of"]

#: The id of the place where a picture stands; no tokeniser has it.
PICTURE = -1


class Pieces:
    """A language model's tokeniser, reduced to what training needs.

    Attributes:
        size: of the vocabulary.
        length: most tokens of a sample, places of pictures included, the picture's own tokens not.
        cut: how many texts were cut so far. What was cut does not teach to end there: its end token goes too.
        before: ids that begin every text; end: the id that ends what is written.

    >>> pieces = Pieces(length=10)
    >>> pieces.write([(PICTURE, False), ("Q: ", False), ("né", True), (END, True)])
    ([1, -1, 84, 61, 35, 113, 198, 172, 2], [-100, -100, -100, -100, -100, 113, 198, 172, 2])
    >>> pieces.write([("Q: ", False), ("a long answer", True), (END, True)])[1][-2:], pieces.cut
    ([113, 106], 1)
    """

    def __init__(self, tokenizer: Any = None, length: int = 128) -> None:
        if length < 3:
            raise UserError(f"A sample of {length} tokens holds no text.")
        self.tokenizer, self.length, self.cut = tokenizer, length, 0
        self.before: list[int]
        self.added: dict[str, int] = {}
        if tokenizer is None:
            self.size, self.before, self.end, self.pad = ByteTokens.size, [START], END, PAD
            return
        self.size = len(tokenizer)
        end = next((i for i in (tokenizer.eos_token_id, tokenizer.sep_token_id) if i is not None), None)
        if end is None:
            raise UserError("This tokeniser has no token that ends a text; a language model could never stop.")
        self.end = int(end)
        special = list(tokenizer("")["input_ids"])
        self.before = special[:-1] if special and special[-1] == self.end else special
        if not special and tokenizer.bos_token_id is not None:
            self.before = [int(tokenizer.bos_token_id)]
        self.pad = self.end if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)

    def grow(self, tokens: Sequence[str]) -> None:
        """Add tokens to the vocabulary: each is one id from now on, behind those that are there.

        >>> pieces = Pieces(length=20)
        >>> pieces.grow(["<3>"])
        >>> pieces.encode("<3> a"), pieces.size, pieces.decode([259, 35, 100])
        ([259, 35, 100], 260, '<3> a')
        """
        if len(set(tokens)) < len(tokens) or not all(tokens):
            raise UserError("vocabulary: every new token is a text of its own.")
        if self.tokenizer is not None:
            self.tokenizer.add_tokens(list(tokens))
            self.size = len(self.tokenizer)
            return
        self.added = {token: self.size + n for n, token in enumerate(tokens)}
        self.size += len(tokens)

    def _bytes(self, text: str) -> list[int]:
        """Return the ids of a text in bytes and in what was added, the longest that fits first."""
        if not self.added:
            return [b + 3 for b in text.encode("utf-8", "replace")]
        pattern = "|".join(re.escape(token) for token in sorted(self.added, key=lambda t: (-len(t), t)))
        out: list[int] = []
        for piece in re.split(f"({pattern})", text):
            out += [self.added[piece]] if piece in self.added else [b + 3 for b in piece.encode("utf-8", "replace")]
        return out

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens."""
        if self.tokenizer is None:
            return self._bytes(text)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def whole(self, text: str) -> int:
        """Return how many tokens a text has that is written with nothing before it."""
        return len(self.before) + len(self.encode(text)) + 1

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Return the text of ids, up to the first end token; special tokens are left out."""
        values = [int(i) for i in (ids.tolist() if isinstance(ids, Tensor) else ids)]
        while values and values[0] in (*self.before, self.pad) and values[0] != self.end:
            values = values[1:]
        if self.end in values:
            values = values[: values.index(self.end)]
        if self.tokenizer is None:
            names = {i: token.encode() for token, i in self.added.items()}
            return b"".join(names.get(i, bytes([i - 3]) if END < i < 259 else b"") for i in values).decode(
                "utf-8", "replace"
            )
        return str(self.tokenizer.decode(values, skip_special_tokens=True)).strip()

    def _fit(self, ids: list[int], room: int) -> list[int]:
        if self.tokenizer is None and not self.added:  # between characters, never within one
            return self.encode(bytes(i - 3 for i in ids[:room]).decode("utf-8", "ignore"))
        if self.tokenizer is None:
            while room > 0 and ids[room] < 259 and 0x80 <= ids[room] - 3 < 0xC0:
                room -= 1
        return ids[:room]

    def write(
        self, pieces: Sequence[tuple[str | int, bool]], before: Sequence[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """Return ids and labels of a sample.

        Args:
            pieces: (text, or `PICTURE`, or an id; whether it is learnt), in order.
            before: ids that stand first; None: those of the tokeniser.

        Raises:
            RowError: nothing that is to be learnt fits behind what is given.
        """
        ids = list(self.before if before is None else before)
        labels = [-100] * len(ids)
        learn_any = any(learn for _, learn in pieces)
        for piece, learn in pieces:
            new = self.encode(piece) if isinstance(piece, str) else [piece]
            room = self.length - len(ids)
            short = len(new) > room
            if short:
                self.cut += 1
                new = self._fit(new, max(0, room))
            ids += new
            labels += new if learn else [-100] * len(new)
            if short:
                break
        if learn_any and all(label == -100 for label in labels):
            raise RowError("too_long", f"the prompt alone has more than the {self.length} tokens of a sample")
        return ids, labels

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask of plain texts, as a text tower wants them."""
        from panoglot.networks.towers._tokens import pad_tokens

        return pad_tokens(
            [self.write([(t, True), (self.end, True)])[0] if t else [*self.before, self.end] for t in texts]
        )


def pieces_of(name: str, length: int, what: str = "") -> Pieces:
    """Return the tokeniser of a model on the hub or in a folder; '' is UTF-8 bytes.

    Raises:
        MissingPackage: transformers is not installed.
        UserError: it cannot be loaded.
    """
    if not name:
        return Pieces(None, length)
    hf = require("transformers", "panoglot[train]", what or f"the tokeniser {name}")
    return Pieces(load_pretrained(hf.AutoTokenizer, name), length)
