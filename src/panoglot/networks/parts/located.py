"""A set of things in a picture or a room: matched to the described ones, then box, mask and whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Record, Term
from panoglot.networks.losses import generalised_iou
from panoglot.networks.losses._nothing import nothing
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.parts._regions import collate_regions
from panoglot.networks.readers import match_sets
from panoglot.networks.samplers import Sample

__all__ = ["LocatePart", "matched"]


def _corners(boxes: Tensor) -> Tensor:
    half = boxes.shape[-1] // 2
    return torch.cat([boxes[..., :half] - boxes[..., half:] / 2, boxes[..., :half] + boxes[..., half:] / 2], -1)


def _on_tokens(masks: Tensor, tokens: int) -> Tensor:
    """Share of every token's cell that a mask [B, R, S, S] covers: [B, R, tokens]."""
    side = round(tokens**0.5)
    if side * side != tokens:
        raise UserError(f"locate: masks need a square grid of tokens, the tower gives {tokens}.")
    return F.adaptive_avg_pool2d(masks.float(), side).flatten(2)


def matched(f: Features, batch: Batch, weights: Sequence[float] = (5.0, 2.0, 5.0)) -> tuple[Tensor, Tensor, Tensor]:
    """Return (picture, query, target) of what a locator found and the regions of a batch.

    Args:
        f: with `located`.
        batch: with boxes (boxes3 for a room), and masks where the locator gives some.
        weights: of the distance of boxes, of their overlap, of masks.
    """
    if f.located is None or batch.region_mask is None:
        raise UserError("locate: needs readers: {locator: …}, and a sampler that shows regions.")
    found, target = f.located, batch.boxes3 if f.located.boxes.shape[-1] == 6 else batch.boxes
    if target is None:
        raise UserError("locate: a room's boxes are needed (RegionText.box3).")
    with torch.no_grad():
        boxes = found.boxes.float()
        cost = weights[0] * torch.cdist(boxes, target.float(), p=1) - found.there.float().sigmoid()[..., None]
        if boxes.shape[-1] == 4:
            cost = cost - weights[1] * generalised_iou(_corners(boxes)[:, :, None], _corners(target)[:, None])
        if found.masks is not None and batch.masks is not None:
            want = _on_tokens(batch.masks, found.masks.shape[-1])
            shares = found.masks.float().sigmoid()
            both = torch.einsum("bqn,brn->bqr", shares, want)
            cost = cost - weights[2] * 2 * both / (shares.sum(-1)[:, :, None] + want.sum(-1)[:, None] + 1)
    return match_sets(cost, batch.region_mask)


class LocatePart(Part):
    """Hungarian matching; L1 and overlap of the matched boxes, masks, and for every query whether it is a thing.

    It is the mean over the described things; a picture without any teaches nothing.

    Args:
        widths: of the model.
        box: weight of the L1 distance of boxes.
        overlap: weight of 1 - GIoU (in pictures).
        mask: weight of the cross-entropy of masks, where the locator gives some.
        dice: weight of their dice.
        there: weight of the cross-entropy of being there.
        absent: of queries that are matched to nothing, in proportion to `there`.

    Source: DETR arXiv 2005.12872; weights of masks as in Pix2Cap arXiv 2501.13893.
    """

    needs, reads, gives = ("locator",), ("picture", "regions"), ("locate",)

    def __init__(
        self,
        widths: Widths,
        box: float = 5.0,
        overlap: float = 2.0,
        mask: float = 5.0,
        dice: float = 5.0,
        there: float = 2.0,
        absent: float = 0.1,
    ) -> None:
        super().__init__()
        self.box, self.overlap, self.mask, self.dice, self.there, self.absent = box, overlap, mask, dice, there, absent

    def collate(self, out: Batch, items: Sequence[tuple[Record, Sample]], model: Any) -> None:
        """Put boxes, masks and descriptions into the batch."""
        locator = model.reader("locator")
        collate_regions(out, items, model, masks=getattr(locator, "mask", None) is not None)

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss over the matched things."""
        i, q, t = matched(f, batch, (self.box, self.overlap, self.dice))
        found = f.located
        assert found is not None
        if not len(i):
            return nothing(found.boxes, found.there)
        target = batch.boxes3 if found.boxes.shape[-1] == 6 else batch.boxes
        assert target is not None
        mine, want = found.boxes[i, q], target[i, t].to(found.boxes.dtype)
        total = self.box * (mine - want).abs().sum()
        if mine.shape[-1] == 4:
            total = total + self.overlap * (1 - generalised_iou(_corners(mine), _corners(want))).sum()
        if found.masks is not None and batch.masks is not None:
            shown, real = found.masks[i, q].float(), _on_tokens(batch.masks, found.masks.shape[-1])[i, t]
            total = total + self.mask * F.binary_cross_entropy_with_logits(shown, real, reduction="none").mean(-1).sum()
            share = shown.sigmoid()
            both = 2 * (share * real).sum(-1) + 1
            total = total + self.dice * (1 - both / (share.sum(-1) + real.sum(-1) + 1)).sum()
        there = torch.zeros_like(found.there).index_put((i, q), torch.ones_like(i, dtype=found.there.dtype))
        weight = torch.where(there > 0, 1.0, self.absent)
        total = total + self.there * F.binary_cross_entropy_with_logits(found.there, there, weight, reduction="sum")
        return Term(total / len(i), len(i))
