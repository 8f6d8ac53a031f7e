"""What language models of every architecture share: their vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from panoglot.networks.towers._pieces import Pieces
from panoglot.networks.towers._spread import grown

__all__ = ["LanguageModel"]


class LanguageModel(nn.Module):
    """A language model, of transformers or our own, with its tokeniser.

    Attributes:
        lm: the model.
        tokens: its tokeniser.
        own: whether it is of our own blocks: its embeddings are `lm.embed`.
    """

    lm: Any
    tokens: Pieces
    own: bool

    def embedding(self) -> Any:
        """Return the module that embeds ids."""
        return self.lm.embed if self.own else self.lm.get_input_embeddings()

    def grow(self, tokens: Sequence[str]) -> None:
        """Add tokens to the vocabulary; their embeddings begin as the mean of those that are there."""
        self.tokens.grow(tokens)
        if self.own:
            self.lm.embed = grown(self.lm.embed, self.tokens.size)
        else:
            self.lm.resize_token_embeddings(max(self.tokens.size, self.embedding().num_embeddings))
