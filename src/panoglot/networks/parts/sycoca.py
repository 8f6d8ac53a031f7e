"""SyCoCa: captions from the patches they speak of, hidden patches from the text. Without masks the first is CoCa's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Term
from panoglot.networks.losses import attentive_masks, lm, patchify, recon_px
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.towers import CaptionDecoder, ImageDecoder

__all__ = ["CaptionPart", "InpaintPart"]

POLICIES = ("attentive", "random", "inverse", "none")


def relevance(f: Features, batch: Batch, policy: str) -> Tensor:
    """Return how much each patch has to do with the record's first text, [B, N], without gradient."""
    if f.local is None or f.y is None or batch.slot_mask is None:
        raise UserError("caption and inpaint need an image tower with patches and a text tower.")
    with torch.no_grad():
        if policy == "random":
            return torch.rand(f.local.shape[:2], device=f.local.device)
        sim = torch.einsum("bnd,bd->bn", f.local, f.y[_first(batch)])
        return -sim if policy == "inverse" else sim


def _first(batch: Batch) -> Tensor:
    """[B] index of the first text of every record."""
    owner = batch.owner
    places = torch.arange(len(owner), device=owner.device)
    return torch.full((len(batch),), len(owner), device=owner.device).scatter_reduce(0, owner, places, "amin")


def _check(batch: Batch, policy: str) -> None:
    if policy not in POLICIES:
        raise UserError(f"mask policy {policy!r} must be one of {', '.join(POLICIES)}.")
    if batch.slot_mask is None or not bool(batch.slot_mask[:, 0].all()):
        raise UserError("caption and inpaint need a text for every picture.")


class CaptionPart(Part):
    """The text, written from the patches (the least relevant ones hidden from the cross-attention).

    Args:
        widths: of the model.
        width, layers, heads, length: of the decoder.
        ratio: share of patches hidden.
        policy: `attentive`, `random`, `inverse`, or `none` (CoCa).
    """

    needs, reads = ("patches", "local", "text", "tokens"), ("picture", "text")

    def __init__(
        self,
        widths: Widths,
        width: int = 512,
        layers: int = 6,
        heads: int = 8,
        length: int = 77,
        ratio: float = 0.5,
        policy: str = "attentive",
    ) -> None:
        super().__init__()
        self.decoder = CaptionDecoder(widths.vocabulary, widths.image, width, layers, heads, length)
        self.ratio, self.policy, self.length = ratio, policy, length

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return nats a token of the records' first texts."""
        _check(batch, self.policy)
        if f.patches is None or batch.tokens is None or batch.token_mask is None:
            raise UserError("caption: needs an image tower with patches and a text tower.")
        ids, mask = batch.tokens[:, 0, : self.length], batch.token_mask[:, 0, : self.length]
        keep = None if self.policy == "none" else attentive_masks(relevance(f, batch, self.policy), self.ratio)[0]
        target = ids.masked_fill(~mask, -100)
        return lm(self.decoder(ids, f.patches, keep), target, shift=True)


class InpaintPart(Part):
    """The most relevant patches, painted from the rest and the text.

    The tower runs again on the masked picture: no clean patch is anywhere on the way.

    Args:
        widths: of the model.
        layers, heads: of the decoder.
        ratio: share of patches hidden.
        policy: as in `CaptionPart`.
    """

    needs, reads = ("patches", "local", "text", "tokens"), ("picture", "text")

    def __init__(
        self, widths: Widths, layers: int = 2, heads: int = 8, ratio: float = 0.5, policy: str = "attentive"
    ) -> None:
        super().__init__()
        if not widths.patch:
            raise UserError("inpaint: needs image: {kind: vit}, whose patches can be hidden.")
        self.decoder = ImageDecoder(widths.image, widths.text, 3 * widths.patch**2, layers, heads)
        self.ratio, self.policy, self.patch = ratio, policy, widths.patch

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the mean error on the hidden patches."""
        _check(batch, self.policy)
        if f.tokens is None or f.token_mask is None or batch.image is None:
            raise UserError("inpaint: needs pictures and a text tower with tokens.")
        hide = attentive_masks(relevance(f, batch, self.policy), self.ratio)[1]
        image, first = batch.image[:, 0], _first(batch)
        painted = self.decoder(step.model.image(image, hide=hide)[1], f.tokens[first], f.token_mask[first])
        return recon_px(painted, patchify(image, self.patch), hide)
