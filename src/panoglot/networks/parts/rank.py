"""The reward model of Compress & Align: a scalar for a picture and a text, learnt from people's rankings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.identity import Added
from panoglot.networks._records import Batch, Record, Term
from panoglot.networks.losses import rank
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.samplers import Sample
from panoglot.networks.towers import Block

__all__ = ["RankPart"]


class RankPart(Part):
    """The text's tokens read the picture's; their mean, through an MLP, is the reward.

    When the run ends, the rewards of what was trained on are brought to mean 0 and deviation 1.

    Args:
        widths: of the model.
        layers: of self- and cross-attention over the text's tokens.
        heads: of the attention.
        hidden: of the MLP.
        backbone: `layers`, those of its own, or `tower`: the text tower reads the picture itself (`blip`), and the
            first of its tokens goes through the MLP.

    Source: arXiv 2312.06726 (image-text matching backbone, MLP, -ln σ(r_better - r_worse)).
    """

    needs, reads, gives = ("patches", "tokens"), ("picture", "rating"), ("score",)
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        widths: Widths,
        layers: int = 6,
        heads: int = 8,
        hidden: int = 256,
        backbone: Annotated[str, Added("layers")] = "layers",
    ) -> None:
        super().__init__()
        if backbone not in ("layers", "tower"):
            raise UserError(f"rank: backbone={backbone!r} must be 'layers' or 'tower'.")
        self.backbone = backbone
        layers = 0 if backbone == "tower" else layers
        if not widths.image or not widths.text:
            raise UserError("rank: needs an image tower and a text tower.")
        self.layers = nn.ModuleList(Block(widths.text, heads, memory_width=widths.image) for _ in range(layers))
        self.after = nn.LayerNorm(widths.text) if layers else nn.Identity()
        self.mlp = nn.Sequential(nn.Linear(widths.text, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def start(self, model: Any) -> None:
        """Refuse a text tower that cannot read pictures, where it must."""
        if self.backbone == "tower" and not hasattr(model.text, "cross"):
            raise UserError("rank: backbone=tower needs a text tower that reads pictures: text: {kind: blip, name: …}.")

    def score(self, model: Any, ids: Tensor, mask: Tensor, langs: Sequence[str], patches: Tensor) -> Tensor:
        """Return rewards [M] of texts ids [M, L] about pictures (patches [M, N, ·])."""
        if self.backbone == "layers":
            return super().score(model, ids, mask, langs, patches)
        return self._out(model.text.cross(ids, mask, patches)[:, 0])

    def _out(self, pooled: Tensor) -> Tensor:
        found: Tensor = (self.mlp(pooled)[:, 0] - self.mean) / self.deviation
        return found

    def reward(self, tokens: Tensor, mask: Tensor, patches: Tensor) -> Tensor:
        """Return rewards [M] of texts (tokens [M, L, ·], mask [M, L]) about pictures (patches [M, N, ·])."""
        see = mask[:, None].expand(-1, tokens.shape[1], -1)
        for layer in self.layers:
            tokens = layer(tokens, see, patches)
        real = mask[..., None].to(tokens.dtype)
        return self._out((self.after(tokens) * real).sum(1) / real.sum(1).clamp(min=1))

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
        reward = self._rewards(f, batch, step.model)
        quality = batch.quality[batch.owner, batch.slot]
        term = rank(reward, quality, batch.owner)
        judged = batch.quality.isfinite() if batch.slot_mask is None else batch.slot_mask & batch.quality.isfinite()
        best = batch.quality.masked_fill(~judged, float("-inf")).amax(1)
        worst = batch.quality.masked_fill(~judged, float("inf")).amin(1)
        return Term(term.value, int((best > worst).sum()) if term.count else 0)

    def _rewards(self, f: Features, batch: Batch, model: Any) -> Tensor:
        """[M] of the texts of a batch."""
        if f.tokens is None or f.token_mask is None or f.patches is None or f.ids is None:
            raise UserError("rank: needs pictures with patches, and texts.")
        patches = f.patches[batch.owner]
        if self.backbone == "layers":
            return self.reward(f.tokens, f.token_mask, patches)
        return self.score(model, f.ids[:, : f.tokens.shape[1]], f.token_mask, f.langs, patches)

    @torch.no_grad()
    def judge(self, model: Any, batches: Iterable[Batch], cosine: bool = False) -> float | None:
        """Return the share of pairs of captions of one picture that are in people's order; None: there are none.

        Args:
            model: that it is a loss of.
            batches: of what is judged.
            cosine: of picture and text orders them, not the reward.
        """
        right = pairs = 0
        for batch, rewards in self._all(model, batches, cosine):
            assert batch.quality is not None
            quality, owner = batch.quality[batch.owner, batch.slot], batch.owner
            better = (owner[:, None] == owner) & (quality[:, None] > quality)
            right += int((better & (rewards[:, None] > rewards)).sum())
            pairs += int(better.sum())
        return right / pairs if pairs else None

    @torch.no_grad()
    def finish(self, model: Any, batches: Iterable[Batch]) -> None:
        """Calibrate on what was trained on."""
        found = [rewards for _, rewards in self._all(model, batches)]
        if sum(map(len, found)) > 1:
            self.calibrate(torch.cat(found))

    def _all(self, model: Any, batches: Iterable[Batch], cosine: bool = False) -> Iterator[tuple[Batch, Tensor]]:
        mode = model.training
        model.eval()
        for batch in batches:
            f = model.features(batch)
            if cosine:
                if f.x is None or f.y is None:
                    raise UserError("rank: without vectors of both sides there is no cosine.")
                yield batch, (f.x[batch.owner] * f.y).sum(1)
            else:
                yield batch, self._rewards(f, batch, model)
        model.train(mode)

    @torch.no_grad()
    def calibrate(self, rewards: Tensor) -> None:
        """Bring rewards to mean 0 and deviation 1 on a calibration set, whose present rewards [M] are given."""
        finite = rewards[torch.isfinite(rewards)]
        if len(finite) < 2:
            raise UserError("calibrate: needs two rewards or more.")
        raw = finite * self.deviation + self.mean
        self.mean.copy_(raw.mean())
        self.deviation.copy_(raw.std().clamp(min=1e-6))
