"""A character GRU with vector-valued attention (the visually grounded sentence encoder)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from panoglot.errors import UserError
from panoglot.networks.towers._tokens import ByteTokens, CharTokens

__all__ = ["CharGru"]


class CharGru(nn.Module):
    """Embedding → bidirectional GRU → attention over time, with weights of its own for every dimension.

    Args:
        embed: width of a character.
        hidden: of each direction; the vector has 2·hidden numbers a head.
        attention: inner width of the attention.
        heads: attention maps; their vectors are joined.
        alphabet: `bytes` for all languages, `ascii` (the paper's printable characters), or the characters themselves.
        length: most characters.

    Attributes:
        joint: its vector is in the joint space itself, where the sizes agree: no map comes behind it.

    Source: Merkx & Frank 2019, arXiv 1903.11393. In the release padding takes part in the attention; here it does not.
    """

    joint = True

    def __init__(
        self,
        embed: int = 20,
        hidden: int = 1024,
        attention: int = 128,
        heads: int = 1,
        alphabet: str = "bytes",
        length: int = 400,
    ) -> None:
        super().__init__()
        chars = None if alphabet == "ascii" else alphabet
        self.tokens: ByteTokens | CharTokens = ByteTokens(length) if alphabet == "bytes" else CharTokens(chars, length)
        self.width = 2 * hidden * heads
        self.embed = nn.Embedding(self.tokens.size, embed, padding_idx=0)
        self.gru = nn.GRU(embed, hidden, batch_first=True, bidirectional=True)
        self.attend = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * hidden, attention), nn.Tanh(), nn.Linear(attention, 2 * hidden))
            for _ in range(heads)
        )

    def forward(self, ids: Tensor, mask: Tensor, langs: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
        """Encode ids [M, L] with mask [M, L]; returns [M, width] and [M, L, 2·hidden].

        Raises:
            UserError: a text without characters.
        """
        lengths = mask.sum(1)
        if int(lengths.min()) == 0:
            raise UserError("char_gru: a text has no characters; leave empty texts out.")
        packed = pack_padded_sequence(self.embed(ids), lengths.cpu(), batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=ids.shape[1])  # [M, L, 2·hidden]
        pooled = []
        for attend in self.attend:
            weight = attend(h).masked_fill(~mask[..., None], float("-inf")).softmax(1)
            pooled.append((weight * h).sum(1))
        return torch.cat(pooled, -1), h
