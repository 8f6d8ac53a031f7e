"""Multiway towers: a picture's tokens and a text's have layers of their own, and may meet in one attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._views import MEAN, STD
from panoglot.networks.towers._spread import spread_places
from panoglot.networks.towers.text import ReadsPieces

__all__ = ["MultiwayBlock", "MultiwayImage", "MultiwayText", "fuse", "multiway_stack", "together"]

#: How a picture's values are shifted and scaled: to -1..1.
INCEPTION = 0.5


class MultiwayBlock(nn.Module):
    """A layer of one modality: attention and feed-forward, each after a norm and with one inside, and depth by chance.

    Args:
        width: of the tokens.
        heads: of the attention.
        number: of the layer, from 1, counted through the towers and the shared layers: values, the attention's output
            and the feed-forward's begin smaller by the root of twice that.
        drop_path: how often, in training, a sequence passes it by.
        deviation: of the weights at the start, which are cut at one deviation.

    Source: BEiT-3 arXiv 2208.10442 (multiway); MAGNETO arXiv 2210.06423 (norms); M2-Encoder arXiv 2401.15896.
    """

    def __init__(
        self, width: int, heads: int, number: int = 1, drop_path: float = 0.0, deviation: float = 0.02
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"A width of {width} cannot be cut into {heads} heads.")
        if not 0 <= drop_path < 1:
            raise UserError(f"multiway: drop_path={drop_path} must be in 0..1.")
        self.heads, self.drop_path = heads, drop_path
        self.norm1, self.inner = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm2, self.middle = nn.LayerNorm(width), nn.LayerNorm(4 * width)
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for layer in (self.q, self.k, self.v, self.out, self.first, self.second):
            nn.init.trunc_normal_(layer.weight, std=deviation, a=-deviation, b=deviation)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            for layer in (self.v, self.out, self.second):
                layer.weight /= (2 * number) ** 0.5

    def asks(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values [B, heads, L, ·] of x [B, L, width]."""
        y = self.norm1(x)
        return tuple(part(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))

    def answers(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the layer's output [B, L, width] of what its attention gave."""
        x = x + self._kept(self.out(self.inner(seen)))
        return x + self._kept(self.second(self.middle(F.gelu(self.first(self.norm2(x))))))

    def _kept(self, x: Tensor) -> Tensor:
        if not (self.training and self.drop_path):
            return x
        stays = torch.rand(len(x), 1, 1, device=x.device) >= self.drop_path
        return x * stays / (1 - self.drop_path)

    def forward(self, x: Tensor, see: Tensor | None = None) -> Tensor:
        """Run x [B, L, width] alone; `see` is bool [B, L, L]."""
        return together([self], [x], see)[0]


def together(blocks: Sequence[MultiwayBlock], xs: Sequence[Tensor], see: Tensor | None = None) -> list[Tensor]:
    """Run sequences through one attention: each by the layers of its own modality, and every token sees all.

    Args:
        blocks: a layer a sequence.
        xs: [B, Li, width] each.
        see: bool [B, ΣL, ΣL].
    """
    q, k, v = (torch.cat(parts, 2) for parts in zip(*(b.asks(x) for b, x in zip(blocks, xs)), strict=True))
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=None if see is None else see[:, None])
    parts = seen.transpose(1, 2).flatten(2).split([x.shape[1] for x in xs], 1)
    return [block.answers(x, part) for block, x, part in zip(blocks, xs, parts, strict=True)]


def multiway_stack(
    width: int, heads: int, layers: int, drop_path: float, deviation: float, before: int = 0
) -> nn.ModuleList:
    """Return layers whose chance to be passed by rises evenly to `drop_path`; `before` are counted before the first."""
    chances = [drop_path * n / max(1, layers - 1) for n in range(layers)]
    return nn.ModuleList(
        MultiwayBlock(width, heads, before + n + 1, chance, deviation) for n, chance in enumerate(chances)
    )


class MultiwayImage(nn.Module):
    """Pictures to a class token and patches, by the picture's layers of a multiway transformer.

    Args:
        size: side of the pictures it is made for, in pixels; others work, the position grid is interpolated.
        patch: side of a patch.
        width: of the tokens.
        layers: depth.
        heads: of the attention.
        drop_path: of the last layer, see `multiway_stack`.
        deviation: of the weights at the start: .02 is for wide ones.

    Source: M2-Encoder arXiv 2401.15896 and its release; pixels are brought to -1..1 here.
    """

    gives = ("picture", "patches", "fused")

    shift: Tensor
    stretch: Tensor

    def __init__(
        self,
        size: int = 224,
        patch: int = 16,
        width: int = 768,
        layers: int = 9,
        heads: int = 12,
        drop_path: float = 0.1,
        deviation: float = 0.02,
    ) -> None:
        super().__init__()
        if size % patch:
            raise UserError(f"multiway: a picture of {size} cannot be cut into patches of {patch}.")
        self.patch, self.width, self.grid, self.heads = patch, width, size // patch, heads
        self.drop_path, self.deviation = drop_path, deviation
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.first, self.hidden = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.place = nn.Parameter(torch.randn(1 + self.grid**2, width) * 0.02)
        self.blocks = multiway_stack(width, heads, layers, drop_path, deviation)
        self.after = nn.LayerNorm(width)
        mean, spread = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        self.register_buffer("shift", (mean - INCEPTION) / INCEPTION, persistent=False)
        self.register_buffer("stretch", spread / INCEPTION, persistent=False)

    def enters(self, image: Tensor, hide: Tensor | None = None) -> Tensor:
        """Return what the first layer reads [B, 1 + N, width] of pictures as all towers are given them."""
        height, width = image.shape[-2:]
        if height % self.patch or width % self.patch:
            raise UserError(f"multiway: a picture of {height}×{width} cannot be cut into patches of {self.patch}.")
        x = self.embed(image * self.stretch + self.shift).flatten(2).transpose(1, 2)
        if hide is not None:
            x = torch.where(hide[..., None], self.hidden.to(x.dtype), x)
        x = torch.cat([self.first.to(x.dtype).expand(x.shape[0], 1, -1), x], 1)
        return x + spread_places(self.place, self.grid, height // self.patch, width // self.patch)

    def forward(self, image: Tensor, hide: Tensor | None = None, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode [B, 3, H, W]; returns [B, width] and [B, N, width]. `hide` and `keep` as of `Vit`."""
        x, see = self.enters(image, hide), None
        if keep is not None:
            see = F.pad(keep, (1, 0), value=True)[:, None].expand(-1, x.shape[1], -1)
        for block in self.blocks:
            x = block(x, see)
        x = self.after(x)
        return x[:, 0], x[:, 1:]


class MultiwayText(ReadsPieces):
    """Texts to the vector of their first token and to token vectors, read both ways, by the text's layers.

    Args:
        length: most tokens.
        width: of the tokens.
        layers: depth.
        heads: of the attention.
        drop_path: of the last layer, see `multiway_stack`.
        deviation: of the weights at the start: .02 is for wide ones.
        tokenizer, vocabulary: as of `TextTransformer`.

    Source: M2-Encoder arXiv 2401.15896 and its release.
    """

    gives = ("text", "tokens", "fused")
    #: the pooled vector is the first of the tokens
    leads = True

    def __init__(
        self,
        length: int = 52,
        width: int = 768,
        layers: int = 9,
        heads: int = 12,
        drop_path: float = 0.1,
        deviation: float = 0.02,
        tokenizer: str = "captions",
        vocabulary: int = 115_244,
    ) -> None:
        super().__init__(tokenizer, length, vocabulary)
        self.width, self.heads = width, heads
        self.embed = nn.Embedding(self.tokens.size, width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.place = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = multiway_stack(width, heads, layers, drop_path, deviation)
        self.after = nn.LayerNorm(width)

    def enters(self, ids: Tensor, hide: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """Return what the first layer reads [M, L, width]; where `hide` [M, L] says, `hidden` [width] stands there."""
        x: Tensor = self.embed(ids)
        if hide is not None and hidden is not None:
            x = torch.where(hide[..., None], hidden.to(x.dtype), x)
        return x + self.place[: ids.shape[1]]

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        langs: Sequence[str] = (),
        *,
        hide: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode ids [M, L] with mask [M, L]; returns [M, width] and [M, L, width]. `hide` as of `enters`."""
        x, see = self.enters(ids, hide, hidden), mask[:, None].expand(-1, ids.shape[1], -1)
        for block in self.blocks:
            x = block(x, see)
        x = self.after(x)
        return x[:, 0], x


def fuse(
    image: MultiwayImage,
    text: MultiwayText,
    pixels: Tensor,
    ids: Tensor,
    mask: Tensor,
    hide: Tensor | None = None,
    hidden: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run pictures and texts as one sequence through the layers of both, whose attention is common.

    Args:
        image, text: towers of equally many layers.
        pixels: [B, 3, H, W].
        ids, mask: [B, L], text n beside picture n.
        hide, hidden: of `MultiwayText.enters`.

    Returns:
        Tokens [B, 1 + N + L, width] and which of them exist.
    """
    x, y = image.enters(pixels), text.enters(ids, hide, hidden)
    real = torch.cat([torch.ones(x.shape[:2], dtype=torch.bool, device=mask.device), mask], 1)
    see = real[:, None].expand(-1, real.shape[1], -1)
    for blocks in zip(image.blocks, text.blocks, strict=True):
        x, y = together(blocks, [x, y], see)  # type: ignore[arg-type]
    return torch.cat([image.after(x), text.after(y)], 1), real
