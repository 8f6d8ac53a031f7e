"""Decoders over picture tokens: queries (GRAIN), captions (CoCa, SyCoCa, TL;DR), pictures (SyCoCa), latents (COSMO)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from panoglot.networks.towers._block import Block, causal_mask, initialise
from panoglot.networks.towers._greedy import greedy
from panoglot.networks.towers._tokens import END, START
from panoglot.networks.towers.heads import unit

__all__ = ["CaptionDecoder", "ImageDecoder", "QueryDecoder", "Resampler"]


class QueryDecoder(nn.Module):
    """Learned queries read the class token and the patches: a vector of the picture, a vector and a box a region.

    What the queries carry begins at zero; the learned queries themselves say who asks, in every layer, as DETR's do.

    Args:
        memory_width: of the patches.
        dim: of the vectors that leave it.
        queries: regions; the picture's own query comes last.
        width: inner.
        layers: depth.
        heads: of the attention.
        drop: dropout.

    Source: GRAIN arXiv 2412.04429; DETR arXiv 2005.12872.
    """

    def __init__(
        self,
        memory_width: int,
        dim: int = 512,
        queries: int = 5,
        width: int = 512,
        layers: int = 6,
        heads: int = 8,
        drop: float = 0.1,
    ) -> None:
        super().__init__()
        self.memory = nn.Sequential(nn.Linear(memory_width, width, bias=False), nn.LayerNorm(width))
        self.queries = nn.Parameter(torch.randn(queries + 1, width) * width**-0.5)
        self.blocks = nn.ModuleList(Block(width, heads, memory_width=width, drop=drop) for _ in range(layers))
        self.after = nn.LayerNorm(width)
        self.box = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4)
        )
        self.region, self.picture = nn.Linear(width, dim, bias=False), nn.Linear(width, dim, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read tokens [B, N, ·]: picture [B, dim], regions [B, Q, dim], boxes [B, Q, 4] (cx, cy, w, h in 0..1)."""
        memory = self.memory(tokens)
        x = torch.zeros_like(self.queries).expand(tokens.shape[0], -1, -1)  # not len(): a trace would keep it
        for block in self.blocks:
            x = block(x, memory=memory, place=self.queries)
        x = self.after(x)
        return self.picture(x[:, -1]), self.region(x[:, :-1]), self.box(x[:, :-1]).sigmoid()

    def fill(self, pooled: Tensor, patches: Tensor, f: Any) -> None:
        """Fill in the features that come from the class token and the patches."""
        x, f.regions, f.boxes = self(torch.cat([pooled[:, None], patches], 1))
        f.x = unit(x)


class CaptionDecoder(nn.Module):
    """Writes a caption from picture tokens, left to right.

    Args:
        vocabulary: ids.
        memory_width: of the picture tokens.
        width: inner; also of `given` embeddings.
        layers: depth.
        heads: of the attention.
        length: most tokens.
    """

    def __init__(
        self, vocabulary: int, memory_width: int, width: int = 512, layers: int = 6, heads: int = 8, length: int = 77
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.place = nn.Parameter(torch.randn(length, width) * 0.01)
        self.blocks = nn.ModuleList(Block(width, heads, memory_width=memory_width) for _ in range(layers))
        initialise(self.blocks, width)
        self.after = nn.LayerNorm(width)
        self.length = length

    def forward(self, ids: Tensor, memory: Tensor, keep: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        """Return logits [B, L, vocabulary]; position t has seen ids[: t + 1].

        Args:
            ids: [B, L].
            memory: [B, N, ·] picture tokens.
            keep: [B, N] bool, the picture tokens that may be seen.
            given: [B, L, width] text features instead of the embeddings of `ids` (CoCa's unimodal half).
        """
        x = (self.embed(ids) if given is None else given) + self.place[: ids.shape[1]]
        see = causal_mask(ids.shape[1], device=ids.device).expand(len(ids), -1, -1)
        see_memory = None if keep is None else keep[:, None].expand(-1, ids.shape[1], -1)
        for block in self.blocks:
            x = block(x, see, memory, see_memory)
        found: Tensor = self.after(x) @ self.embed.weight.T
        return found

    @torch.no_grad()
    def generate(self, memory: Tensor, most: int | None = None, start: Tensor | None = None) -> Tensor:
        """Write greedily; returns ids [B, ≤ most], everything after the end token is padding.

        Args:
            memory: [B, N, ·].
            most: tokens.
            start: [B, S] what the decoder is given first; the start token when None.
        """
        ids = memory.new_full((len(memory), 1), START, dtype=torch.long) if start is None else start
        length = min(self.length, most or self.length)
        return greedy(lambda whole: self(whole, memory)[:, -1], ids, END, 0, length - ids.shape[1])


class ImageDecoder(nn.Module):
    """Paints patches from patch tokens and a text (SyCoCa's inpainting).

    Args:
        width: of the patch tokens.
        memory_width: of the text tokens.
        pixels: numbers a patch, patch²·3.
        layers: depth.
        heads: of the attention.
    """

    def __init__(self, width: int, memory_width: int, pixels: int, layers: int = 2, heads: int = 8) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, memory_width=memory_width) for _ in range(layers))
        self.after, self.paint = nn.LayerNorm(width), nn.Linear(width, pixels)

    def forward(self, patches: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Return [B, N, pixels] of patches [B, N, width], text [B, L, ·] and its mask [B, L]."""
        see = text_mask[:, None].expand(-1, patches.shape[1], -1)
        for block in self.blocks:
            patches = block(patches, memory=text, see_memory=see)
        found: Tensor = self.paint(self.after(patches))
        return found


class Resampler(nn.Module):
    """Any number of picture tokens to a fixed number of latents; latent 0 speaks for the whole picture.

    Args:
        memory_width: of the picture tokens.
        latents: media tokens; one more is made for the whole.
        width: of the latents.
        layers: depth.
        heads: of the attention.

    Source: Flamingo's perceiver, COSMO arXiv 2401.00849.
    """

    def __init__(
        self, memory_width: int, latents: int = 64, width: int = 1024, layers: int = 6, heads: int = 8
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents + 1, width) * width**-0.5)
        self.blocks = nn.ModuleList(Block(width, heads, memory_width=memory_width) for _ in range(layers))
        self.after = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the whole [B, width] and the media tokens [B, latents, width] of tokens [B, N, ·], `real` [B, N]."""
        x = self.latents.expand(tokens.shape[0], -1, -1)
        see = None if real is None else real[:, None].expand(-1, x.shape[1], -1)
        for block in self.blocks:
            x = block(x, memory=tokens, see_memory=see)
        x = self.after(x)
        return x[:, 0], x[:, 1:]
