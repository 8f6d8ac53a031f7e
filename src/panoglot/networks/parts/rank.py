"""The reward model of Compress & Align: a scalar for a picture and a text, learnt from people's rankings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Record, Term
from panoglot.networks.losses import rank
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.samplers import Sample
from panoglot.networks.towers import Block

__all__ = ["RankPart"]


class RankPart(Part):
    """The text's tokens read the picture's; their mean, through an MLP, is the reward.

    Args:
        widths: of the model.
        layers: of self- and cross-attention over the text's tokens.
        heads: of the attention.
        hidden: of the MLP.

    Source: arXiv 2312.06726 (image-text matching backbone, MLP, -ln σ(r_better - r_worse)).
    """

    needs, reads, gives = ("patches", "tokens"), ("picture", "rating"), ("score",)
    mean: Tensor
    deviation: Tensor

    def __init__(self, widths: Widths, layers: int = 6, heads: int = 8, hidden: int = 256) -> None:
        super().__init__()
        if not widths.image or not widths.text:
            raise UserError("rank: needs an image tower and a text tower.")
        self.layers = nn.ModuleList(Block(widths.text, heads, memory_width=widths.image) for _ in range(layers))
        self.after = nn.LayerNorm(widths.text)
        self.mlp = nn.Sequential(nn.Linear(widths.text, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def reward(self, tokens: Tensor, mask: Tensor, patches: Tensor) -> Tensor:
        """Return rewards [M] of texts (tokens [M, L, ·], mask [M, L]) about pictures (patches [M, N, ·])."""
        see = mask[:, None].expand(-1, tokens.shape[1], -1)
        for layer in self.layers:
            tokens = layer(tokens, see, patches)
        real = mask[..., None].to(tokens.dtype)
        pooled = (self.after(tokens) * real).sum(1) / real.sum(1).clamp(min=1)
        found: Tensor = (self.mlp(pooled)[:, 0] - self.mean) / self.deviation
        return found

    def collate(self, out: Batch, items: Sequence[tuple[Record, Sample]], model: Any) -> None:
        """Put what people thought of each text into the batch."""
        slots = 0 if out.slot_mask is None else out.slot_mask.shape[1]
        if slots:
            scores = [[math.nan if t is None or t.score is None else t.score for t in s.texts] for _, s in items]
            out.quality = torch.tensor([row + [math.nan] * (slots - len(row)) for row in scores])

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the mean over pictures of the loss over their ordered pairs; it counts pictures that have one."""
        if f.tokens is None or f.token_mask is None or f.patches is None or batch.quality is None:
            raise UserError("rank: needs pictures with patches, and sampler: {kind: ranked}.")
        reward = self.reward(f.tokens, f.token_mask, f.patches[batch.owner])
        quality = batch.quality[batch.owner, batch.slot]
        term = rank(reward, quality, batch.owner)
        judged = batch.quality.isfinite() if batch.slot_mask is None else batch.slot_mask & batch.quality.isfinite()
        best = batch.quality.masked_fill(~judged, float("-inf")).amax(1)
        worst = batch.quality.masked_fill(~judged, float("inf")).amin(1)
        return Term(term.value, int((best > worst).sum()) if term.count else 0)

    @torch.no_grad()
    def calibrate(self, rewards: Tensor) -> None:
        """Bring rewards to mean 0 and deviation 1 on a calibration set, whose present rewards [M] are given."""
        finite = rewards[torch.isfinite(rewards)]
        if len(finite) < 2:
            raise UserError("calibrate: needs two rewards or more.")
        raw = finite * self.deviation + self.mean
        self.mean.copy_(raw.mean())
        self.deviation.copy_(raw.std().clamp(min=1e-6))
