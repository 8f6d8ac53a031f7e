"""Words as embeddings, and nothing more: for a composer that reads them itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, require
from panoglot.networks.towers._pretrained import load_pretrained
from panoglot.networks.towers._subwords import LearntTokens, tokens_of

__all__ = ["Words"]


class Words(nn.Module):
    """Texts to the sums of their words' and places' embeddings; the one vector is their mean.

    Args:
        length: most tokens; what is cut is counted (`tokens.cut`).
        width: of the embeddings.
        tokenizer: as of `TextTransformer`, but for one that is learnt.
        name: of a BLIP-2 checkpoint for retrieval, on the hub or in a folder, whose embeddings it begins with.

    Source: BERT arXiv 1810.04805, section 3; BLIP-2 arXiv 2301.12597.
    """

    def __init__(self, length: int = 32, width: int = 768, tokenizer: str = "", name: str = "") -> None:
        super().__init__()
        self.tokens, self.width = tokens_of(tokenizer, length, 8000), width
        if isinstance(self.tokens, LearntTokens):
            raise UserError("text words: tokenizer=captions is learnt, which only text: {kind: transformer} does.")
        self.embed, self.place = nn.Embedding(self.tokens.size, width), nn.Parameter(torch.randn(length, width) * 0.02)
        nn.init.normal_(self.embed.weight, std=0.02)
        if name:
            self._begin(name)

    def _begin(self, name: str) -> None:
        hf = require("transformers", "panoglot[train]", f"the words of {name}")
        words = load_pretrained(hf.Blip2ForImageTextRetrieval, name).embeddings
        table, places = words.word_embeddings.weight, words.position_embeddings.weight
        if table.shape[1] != self.width or len(table) < self.tokens.size or len(places) < len(self.place):
            raise UserError(f"text words: the embeddings of {name} do not fit the row: {list(table.shape)}.")
        with torch.no_grad():
            self.embed.weight.copy_(table[: self.tokens.size])
            self.place.copy_(places[: len(self.place)])

    def forward(self, ids: Tensor, mask: Tensor, langs: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
        """Embed ids [M, L] with mask [M, L]; returns [M, width] and [M, L, width]."""
        x = self.embed(ids) + self.place[: ids.shape[1]]
        real = mask[..., None].to(x.dtype)
        return (x * real).sum(1) / real.sum(1).clamp(min=1), x
