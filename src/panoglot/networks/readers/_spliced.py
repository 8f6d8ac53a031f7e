"""Composers that put tokens of a picture among a text's words: CoLLM's slot, ISA's soft sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks.readers._composer import Composer
from panoglot.networks.towers._block import Block
from panoglot.networks.towers._tokens import pad_tokens
from panoglot.networks.towers.heads import unit

if TYPE_CHECKING:
    from panoglot.networks.parts import Features

__all__ = ["SentenceComposer", "SlotComposer", "SplicedComposer", "TokenLearner", "ends_of", "splice"]

PICTURE, TEXT = "{picture}", "{text}"


def ends_of(tokens: Any) -> tuple[list[int], list[int]]:
    """Return the ids that a tokeniser puts before and behind every text."""
    nothing, some = (_real(tokens, text) for text in ("", "a"))
    first = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(nothing, some))))
    return nothing[:first], nothing[first:]


def _real(tokens: Any, text: str) -> list[int]:
    ids, mask = tokens([text])
    return [int(i) for i in ids[0][mask[0]]]


def _inner(tokens: Any, text: str, ends: tuple[list[int], list[int]]) -> list[int]:
    ids = _real(tokens, text)
    return ids[len(ends[0]) : len(ids) - len(ends[1])]


def splice(tokens: Any, parts: Sequence[str | int | Sequence[int]], most: int = 0) -> tuple[list[int], list[int], bool]:
    """Return the ids of a text with room for soft tokens: (ids, where the soft ones stand, whether it was cut).

    Args:
        tokens: a text tower's tokeniser.
        parts: in order: words; ids of words; or how many soft tokens stand here.
        most: ids of a text; what is beyond is cut from the last part. 0: any number.

    >>> from panoglot.networks.towers import ByteTokens
    >>> splice(ByteTokens(9), ["ab", 2, "c"])
    ([1, 100, 101, 0, 0, 102, 2], [3, 4], False)
    """
    ends = ends_of(tokens)
    ids, soft = list(ends[0]), list[int]()
    for part in parts:
        if isinstance(part, int):
            soft += range(len(ids), len(ids) + part)
            ids += [0] * part
        else:
            ids += _inner(tokens, part, ends) if isinstance(part, str) else part
    room = most - len(ends[1]) if most else len(ids)
    if soft and soft[-1] >= room:
        raise UserError(f"a text of {most} tokens has no room for a picture's {len(soft)} and the words before them.")
    return ids[:room] + ends[1], soft, len(ids) > room


class SplicedComposer(Composer):
    """Queries as sentences with a picture's tokens among their words, which the row's text tower reads.

    Attributes:
        both: the sentence of a picture and a text, `{picture}` and `{text}` in it.
        picture: of a picture alone; text: of a text alone.
    """

    reads = "ids"
    both, picture, text = "{picture} {text}", "{picture}", "{text}"

    def soft(self, f: Features, pictures: Tensor) -> Tensor:
        """Return the soft tokens [n, S, width] of pictures."""
        raise NotImplementedError

    def sentences(
        self, model: Any, soft: Tensor | None, f: Features, texts: Tensor | None = None
    ) -> tuple[Tensor, Tensor, list[str], dict[str, Any]]:
        """Return what the text tower reads: ids and mask [n, L], languages, and where which soft tokens stand.

        Args:
            model: whose text tower it is.
            soft: [n, S, width]; None: the queries have no picture.
            f: with the ids of texts.
            texts: [n] rows of texts in `f`; None: the queries have none. What does not fit is cut from their ends, and
                counted (`tokens.cut`).
        """
        tokens, instructions, langs = model.text.tokens, None, []
        n = len(soft) if soft is not None else 0 if texts is None else len(texts)
        if texts is not None:
            if f.ids is None or f.token_mask is None:
                raise UserError("a composer that reads words needs a text tower with tokens.")
            ends = ends_of(tokens)
            whole = [f.ids[i][f.token_mask[i]].tolist() for i in texts.tolist()]
            instructions = [ids[len(ends[0]) : len(ids) - len(ends[1])] for ids in whole]
            langs = [f.langs[i] for i in texts.tolist()] if f.langs else []
        said = self.picture if texts is None else self.text if soft is None else self.both
        pieces = [one for one in re.split(r"(\{picture\}|\{text\})", said) if one]
        rows, at = [], []
        for k in range(n):
            known: dict[str, Any] = {TEXT: instructions[k]} if instructions else {}
            if soft is not None:
                known[PICTURE] = soft.shape[1]
            parts: list[Any] = [known.get(one, one) for one in pieces]
            ids, places, cut = splice(tokens, parts, getattr(tokens, "length", 0))
            tokens.cut += cut
            rows.append(ids)
            at.append(places)
        here = next(model.parameters()).device
        ids_, mask = (z.to(here) for z in pad_tokens(rows))
        if soft is None:
            return ids_, mask, langs or ["und"] * n, {}
        where = torch.zeros_like(mask)
        for k, places in enumerate(at):
            where[k, places] = True
        return ids_, mask, langs or ["und"] * n, {"soft": (where, soft.flatten(0, 1))}

    def query(self, model: Any, f: Features, pictures: Tensor | None, texts: Tensor | None) -> Tensor:
        """Return unit vectors [n, dim] of queries."""
        if pictures is None and texts is None:
            raise UserError("a query needs a picture, a text, or both.")
        soft = None if pictures is None else self.soft(f, pictures)
        ids, mask, langs, more = self.sentences(model, soft, f, texts)
        return self.out_of(model, model.text(ids, mask, langs, **more)[0])

    def out_of(self, model: Any, pooled: Tensor) -> Tensor:
        """Return unit vectors [n, dim] of what the text tower made."""
        return unit(model.text_head(pooled))


class SlotComposer(SplicedComposer):
    """The picture's vector through an adapter as one token among the words of a language model; its last token counts.

    Args:
        widths: of the model.
        instruction: words before every query.

    Source: CoLLM arXiv 2503.19910, section 3 (image slot, adapter, projection of the last token).
    """

    needs = ("picture", "words")
    speaks = True

    def __init__(self, widths: Any, instruction: str = "Find the picture that is meant: ") -> None:
        super().__init__()
        self.both, self.picture, self.text = (instruction + one for one in (self.both, self.picture, self.text))
        self.adapter, self.out = nn.Linear(widths.dim, widths.text), nn.Linear(widths.text, widths.dim)

    def soft(self, f: Features, pictures: Tensor) -> Tensor:
        """Return the token [n, 1, width] of each picture."""
        if f.x is None:
            raise UserError("the slot takes a picture's vector, and the row makes none.")
        found: Tensor = self.adapter(f.x[pictures])[:, None]
        return found

    def out_of(self, model: Any, pooled: Tensor) -> Tensor:
        """Return unit vectors [n, dim] of the last tokens."""
        return unit(self.out(pooled))


class TokenLearner(nn.Module):
    """Some tokens of a map of any size: each a mean of its places by an attention map; then they look at each other.

    Args:
        width: of the map.
        out: of the tokens.
        tokens: how many.
        inner: width in between.
        heads: of the attention.

    Source: ISA arXiv 2403.01431, section 3.2 (attention maps, tokens that relate, a look back that filters); its layers
    are remembered, not confirmed.
    """

    def __init__(self, width: int, out: int, tokens: int = 6, inner: int = 512, heads: int = 8) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, tokens))
        self.into, self.block = nn.Linear(width, inner), Block(inner, heads, memory_width=width)
        self.after, self.out = nn.LayerNorm(inner), nn.Linear(inner, out)
        nn.init.normal_(self.out.weight, std=0.02 * inner**-0.5)  # as small as a word's embedding
        nn.init.zeros_(self.out.bias)

    def attention(self, x: Tensor) -> Tensor:
        """Return the shares [B, S, N] of the places in each token of maps x [B, N, width]."""
        found: Tensor = self.maps(x).softmax(1).transpose(1, 2)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens [B, S, out] of maps x [B, N, width]."""
        z = self.into(self.attention(x) @ x)
        found: Tensor = self.out(self.after(self.block(z, memory=x)))
        return found


class SentenceComposer(SplicedComposer):
    """A light tower writes a soft sentence for a picture, which stands among the words of a frozen text tower.

    Pictures that may be found are vectors of the row's image tower, which a query does not need.

    Args:
        widths: of the model.
        tower: the further tower that sees the query's picture.
        width: of that tower's tokens.
        tokens: of the sentence; 1 is a single pseudo-word.
        inner: width of the token learner.
        heads: of its attention.

    Source: ISA arXiv 2403.01431.
    """

    needs = ("picture", "words")
    both, picture = "a photo of {picture}, {text}", "a photo of {picture}"

    def __init__(
        self, widths: Any, width: int, tower: str = "light", tokens: int = 6, inner: int = 512, heads: int = 8
    ) -> None:
        super().__init__()
        self.tower, self.looks = tower, (tower,)
        self.learner = TokenLearner(width, widths.text, tokens, inner, heads)

    def soft(self, f: Features, pictures: Tensor) -> Tensor:
        """Return the sentence [n, tokens, width] of each picture."""
        if self.tower not in f.towers:
            raise UserError(f"composer sentence: the row has no tower '{self.tower}': towers: {{{self.tower}: …}}.")
        found: Tensor = self.learner(f.towers[self.tower][1][pictures])
        return found
