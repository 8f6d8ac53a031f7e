"""The layers that both towers pass through, and the vectors before and after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._needs import needs_of
from panoglot.networks.parts import Features
from panoglot.networks.towers import Block, MultiwayImage, MultiwayText, multiway_stack, unit

if TYPE_CHECKING:
    from panoglot.networks._row import Row

__all__ = ["TAPS", "Shared"]

TAPS = ("before", "after")


class Shared(nn.Module):
    """What a model has where its row says `shared`: both towers' tokens go through the same layers, each alone.

    Source: M2-Encoder arXiv 2401.15896.
    """

    row: Row
    image: Any
    text: Any
    stack: Any
    head: Any
    text_head: Any
    text_vectors: Any
    #: Whose vectors pictures and texts have in use: `before` or `after` the shared layers.
    tap: str = "before"

    def make_shared(self, row: Row) -> None:
        """Build the layers; of multiway towers they are multiway ones, which go on counting."""
        image, text = self.image, self.text
        if image is None or text is None or image.width != text.width:
            raise UserError("shared layers need two towers of one width.")
        if isinstance(image, MultiwayImage) != isinstance(text, MultiwayText):
            raise UserError("image and text: both towers must be {kind: multiway}, or neither.")
        self.settle: nn.Module = nn.Identity()
        if isinstance(image, MultiwayImage):
            if len(image.blocks) != len(text.blocks) or image.heads != text.heads:
                raise UserError("multiway: image and text need equally many layers and heads.")
            like = (image.width, image.heads, row.shared, image.drop_path, image.deviation)
            self.stack = multiway_stack(*like, before=len(image.blocks))
            self.settle = nn.LayerNorm(image.width)
        else:
            self.stack = nn.ModuleList(Block(image.width, max(1, image.width // 64)) for _ in range(row.shared))
        self.head2 = nn.Linear(image.width, row.dim, bias=False)
        self.text_head2 = nn.Linear(text.width, row.dim, bias=False)
        if isinstance(image, MultiwayImage):
            for head in (self.head, self.text_head, self.head2, self.text_head2):
                if isinstance(head, nn.Linear):
                    nn.init.normal_(head.weight, std=0.02)

    def usual_tap(self) -> str:
        """Return the tap that vectors are of where nobody chose: the second where a loss has trained it."""
        trained = any("second" in needs_of(name, spec) for name, spec in self.row.parts.items())
        return "after" if self.row.shared and trained else "before"

    def use_tap(self, tap: str, name: str) -> None:
        """Choose whose vectors pictures and texts have in use.

        Raises:
            UserError: no tap, or a model without shared layers.
        """
        if tap not in TAPS:
            raise UserError(f"tap={tap} of '{name}' must be before or after (the shared layers).")
        if not self.row.shared:
            raise UserError(f"tap={tap} is of a model with shared layers; '{name}' has none: leave out tap.")
        self.tap = tap

    def through(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Return what the shared layers make of tokens [B, L, width], of which `real` [B, L] exist."""
        see = None if real is None else real[:, None].expand(-1, x.shape[1], -1)
        for block in self.stack:
            x = block(x, see)
        found: Tensor = self.settle(x)
        return found

    def tap_image(self, pooled: Tensor, patches: Tensor) -> Tensor:
        """Return pictures' unit vectors after the shared layers."""
        return unit(self.head2(self.through(torch.cat([pooled[:, None], patches], 1))[:, 0]))

    def tap_text(self, pooled: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return texts' unit vectors after the shared layers, of tokens [M, L, width] with mask [M, L]."""
        if not getattr(self.text, "leads", False):  # the pooled vector goes before the tokens
            tokens, mask = torch.cat([pooled[:, None], tokens], 1), nn.functional.pad(mask, (1, 0), value=True)
        return unit(self.text_head2(self.through(tokens, mask)[:, 0]))

    def text_in_use(self, ids: Tensor, mask: Tensor, langs: Sequence[str]) -> Tensor:
        """Return texts' unit vectors [M, D] of the tap that is in use."""
        vectors, pooled, tokens = self.text_vectors(ids, mask, langs)
        return self.tap_text(pooled, tokens, mask[:, : tokens.shape[1]]) if self.tap == "after" else vectors

    def in_use(self, f: Features) -> Tensor | None:
        """Return pictures' vectors of the tap that is in use."""
        return f.x2 if self.tap == "after" else f.x
