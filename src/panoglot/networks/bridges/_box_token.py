"""FlexCap's box: one more token beside the picture's, a linear map of the four numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks.bridges._base import Asked, Bridge

__all__ = ["BoxToken"]


class BoxToken(Bridge):
    """The first region of an item becomes a token behind the picture's; an item without one gets none.

    Args:
        widths: of the model.

    Source: FlexCap arXiv 2403.12026 (box through a linear layer, appended to the patch tokens).
    """

    reads = ("regions",)
    more = 1

    def __init__(self, widths: Any) -> None:
        super().__init__()
        self.box = nn.Linear(4, widths.media)

    def forward(self, media: Tensor, real: Tensor, asked: Asked) -> tuple[Tensor, Tensor]:
        """Append the token to the tokens of the first picture."""
        if asked.boxes is None or asked.region_mask is None:
            raise UserError("bridge box_token: needs regions: sampler: {kind: each_region}, or boxes= in use.")
        b, t, _, width = media.shape
        token = media.new_zeros(b, t, 1, width)
        there = torch.zeros(b, t, 1, dtype=torch.bool, device=media.device)
        token[:, 0, 0] = self.box(asked.boxes[:, 0].to(media.dtype)).to(media.dtype)
        there[:, 0, 0] = asked.region_mask[:, 0]
        return torch.cat([media, token], 2), torch.cat([real, there], 2)
