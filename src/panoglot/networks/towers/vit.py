"""A small vision transformer whose patches may be hidden or moved to another grid."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.identity import Added
from panoglot.networks.towers._block import Block, initialise
from panoglot.networks.towers._spread import spread_places

__all__ = ["Vit"]


class Vit(nn.Module):
    """Pictures to one vector and to patch vectors.

    Args:
        size: side of the pictures it is made for, in pixels; others work, the position grid is interpolated.
        patch: side of a patch.
        width: of the tokens.
        layers: depth.
        heads: of the attention.
        alpha: a fourth channel says which part of the picture is meant: its patches are embedded beside those of the
            colours, from zero, so that at first nothing changes.
        spread: deviation of the first places; 0: `width ** -0.5`. Beside patches that are much larger, places are lost
            in the norm behind their sum.

    Source: CLIP arXiv 2103.00020 (class token, learned positions, norms before and after); Alpha-CLIP arXiv 2312.03818.
    """

    gives = ("picture", "patches")

    def __init__(
        self,
        size: int = 224,
        patch: int = 16,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        alpha: Annotated[bool, Added(False)] = False,
        spread: Annotated[float, Added(0.0)] = 0.0,
    ) -> None:
        super().__init__()
        if size % patch:
            raise UserError(f"vit: a picture of {size} cannot be cut into patches of {patch}.")
        if spread < 0:
            raise UserError(f"vit: spread={spread} must be at least 0.")
        self.patch, self.width, self.grid = patch, width, size // patch
        self.embed = nn.Conv2d(3, width, patch, patch, bias=False)
        self.first = nn.Parameter(torch.randn(width) * width**-0.5)
        self.place = nn.Parameter(torch.randn(1 + self.grid**2, width) * (spread or width**-0.5))
        self.hidden = nn.Parameter(torch.randn(width) * 0.02)
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        initialise(self.blocks, width)
        self.alpha = nn.Conv2d(1, width, patch, patch, bias=False) if alpha else None
        if self.alpha is not None:
            nn.init.zeros_(self.alpha.weight)

    def places(self, rows: int, columns: int) -> Tensor:
        """Return the positions [1 + rows·columns, width] of another grid."""
        return spread_places(self.place, self.grid, rows, columns)

    def forward(self, image: Tensor, hide: Tensor | None = None, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode.

        Args:
            image: [B, 3, H, W], or [B, 4, H, W] with `alpha` (1 is meant, 0 is not).
            hide: [B, N] bool: these patches are replaced by a learned token before anything looks at them.
            keep: [B, N] bool: only these patches may be attended to.

        Returns:
            The class token [B, width] and the patches [B, N, width].
        """
        height, width = image.shape[-2:]
        if height % self.patch or width % self.patch:
            raise UserError(f"vit: a picture of {height}×{width} cannot be cut into patches of {self.patch}.")
        x = self.embed(image[:, :3])
        if self.alpha is not None:
            meant = image[:, 3:] if image.shape[1] > 3 else torch.ones_like(image[:, :1])
            x = x + self.alpha(meant)
        x = x.flatten(2).transpose(1, 2)  # [B, N, width]
        if hide is not None:
            x = torch.where(hide[..., None], self.hidden.to(x.dtype), x)
        x = torch.cat([self.first.to(x.dtype).expand(x.shape[0], 1, -1), x], 1)  # not len(x): a trace would keep it
        x = self.before(x + self.places(height // self.patch, width // self.patch))
        see = None
        if keep is not None:
            see = F.pad(keep, (1, 0), value=True)[:, None].expand(-1, x.shape[1], -1)
        for block in self.blocks:
            x = block(x, see)
        x = self.after(x)
        return x[:, 0], x[:, 1:]
