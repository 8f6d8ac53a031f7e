"""Small text towers: causal (CLIP's), averaged (XLM-R's pooling), with language adapters (X-MOD's)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.identity import Added
from panoglot.networks.adapters import LanguageAdapters
from panoglot.networks.towers._block import Block, causal_mask, initialise
from panoglot.networks.towers._subwords import LearntTokens, tokens_of
from panoglot.networks.towers._tokens import spliced

__all__ = ["ReadsPieces", "TextTransformer"]


class ReadsPieces(nn.Module):
    """What text towers of ours share: a tokeniser that may be learnt, and is stored with the weights then.

    Args:
        tokenizer, length, vocabulary: of `tokens_of`.
    """

    learnt: Tensor

    def __init__(self, tokenizer: str, length: int, vocabulary: int) -> None:
        super().__init__()
        self.tokens = tokens_of(tokenizer, length, vocabulary)
        if isinstance(self.tokens, LearntTokens):
            self.register_buffer("learnt", torch.zeros(0, dtype=torch.uint8))

    def learn(self, texts: Sequence[str]) -> None:
        """Learn the tokeniser of the texts that are trained on, where it is one that learns; called before training."""
        if isinstance(self.tokens, LearntTokens):
            self.tokens.learn(texts)
            here = next(self.parameters()).device
            self.learnt = torch.frombuffer(bytearray(self.tokens.model), dtype=torch.uint8).to(here)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *more: Any) -> None:
        """Take up the tokeniser with the weights: it is as long as it is."""
        stored = state.get(f"{prefix}learnt")
        if stored is not None and isinstance(self.tokens, LearntTokens):
            self.learnt = stored.clone()
            if len(stored):
                self.tokens.load(stored.cpu().numpy().tobytes())
        super()._load_from_state_dict(state, prefix, *more)


class TextTransformer(ReadsPieces):
    """Texts to one vector and to token vectors.

    Args:
        length: most tokens.
        width: of the tokens.
        layers: depth.
        heads: of the attention.
        pool: `end`, causal attention and the vector at the end token (CLIP); `mean`, attention both ways and the mean
            of the real tokens.
        langs: with languages, every block is followed by the adapters of the text's language (X-MOD).
        reduction: of those adapters.
        tokenizer: '' is UTF-8 bytes; `clip`, CLIP's own; `captions`, SentencePiece that is learnt of the captions that
            are trained on; `….model`, a file of SentencePiece; any other name is one of transformers, or a folder.
        vocabulary: ids of `captions`.
        spread: deviation of the first words; that of their places is half of it. Words that stand beside a picture's
            tokens want to be about as large as those.
    """

    gives = ("text", "tokens", "words")

    def __init__(
        self,
        length: int = 77,
        width: int = 512,
        layers: int = 12,
        heads: int = 8,
        pool: str = "end",
        langs: Sequence[str] = (),
        reduction: int = 2,
        tokenizer: Annotated[str, Added("")] = "",
        vocabulary: Annotated[int, Added(8000)] = 8000,
        spread: Annotated[float, Added(0.02)] = 0.02,
    ) -> None:
        if spread <= 0:
            raise UserError(f"text: spread={spread} must be above 0.")
        if pool not in ("end", "mean"):
            raise UserError(f"text: pool={pool!r} must be 'end' or 'mean'.")
        super().__init__(tokenizer, length, vocabulary)
        self.width, self.pool, self.end = width, pool, self.tokens.end
        self.embed = nn.Embedding(self.tokens.size, width)
        self.place = nn.Parameter(torch.randn(length, width) * (spread / 2))
        nn.init.normal_(self.embed.weight, std=spread)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        initialise(self.blocks, width)
        self.languages = nn.ModuleList(LanguageAdapters(langs, width, reduction) for _ in range(layers if langs else 0))
        self.after = nn.LayerNorm(width)

    def knows(self, lang: str) -> bool:
        """Whether it has adapters for a language; one without any adapters reads all."""
        each: Any = self.languages
        return all(adapters.knows(lang) for adapters in each)

    @property
    def causal(self) -> bool:
        """Whether a token's vector depends on nothing behind it."""
        return self.pool == "end"

    def forward(
        self, ids: Tensor, mask: Tensor, langs: Sequence[str] = (), soft: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode ids [M, L] with mask [M, L]; returns [M, width] and [M, L, width].

        Args:
            ids: of the texts.
            mask: which exist.
            langs: of the texts, for adapters.
            soft: (where [M, L] bool, vectors [K, width]): embeddings that stand there instead of words, row by row.
        """
        x = spliced(self.embed(ids), soft) + self.place[: ids.shape[1]]
        see = mask[:, None].expand(-1, ids.shape[1], -1)
        if self.pool == "end":
            see = see & causal_mask(ids.shape[1], device=ids.device)
        for i, block in enumerate(self.blocks):
            x = block(x, see)
            if len(self.languages):
                x = self.languages[i](x, langs)
        x = self.after(x)
        if self.pool == "end":
            at = torch.arange(x.shape[0], device=x.device)  # not len(x): a trace would keep it
            return x[at, (ids == self.end).long().argmax(1)], x
        real = mask[..., None].to(x.dtype)
        return (x * real).sum(1) / real.sum(1).clamp(min=1), x
