"""GRAIN: boxes by Hungarian matching, and matched regions against all descriptions of the batch, one way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from panoglot.errors import UserError
from panoglot.identity import versioned
from panoglot.networks._contrast import ContrastOptions
from panoglot.networks._pool import pooled_queries
from panoglot.networks._records import Batch, Record, Term
from panoglot.networks.losses import box, match_boxes
from panoglot.networks.losses._nothing import nothing
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.parts._regions import collate_regions
from panoglot.networks.samplers import Sample
from panoglot.networks.towers import Scale

__all__ = ["BoxPart", "RegionsPart"]


def _needed(f: Features, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if f.boxes is None or f.regions is None:
        raise UserError("box and regions need head: {kind: queries}.")
    if batch.boxes is None or batch.region_mask is None:
        raise UserError("box and regions need sampler: {kind: regions}.")
    return f.boxes, f.regions, batch.boxes, batch.region_mask


@versioned(2)  # boxes move with the crops of their picture
class BoxPart(Part):
    """L1 + (1 - GIoU) of the matched boxes."""

    needs, reads, gives = ("regions",), ("picture", "regions"), ("locate",)

    def __init__(self, widths: Widths) -> None:
        super().__init__()

    def collate(self, out: Batch, items: Sequence[tuple[Record, Sample]], model: Any) -> None:
        """Put boxes and descriptions into the batch."""
        collate_regions(out, items, model)

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss over the matched boxes of the batch."""
        boxes, _, target, mask = _needed(f, batch)
        return box(boxes, target, mask)


@versioned(2)  # likewise
class RegionsPart(Part):
    """Every matched region finds its own description among those of the batch; equal descriptions are one."""

    needs, reads = ("regions", "tokens"), ("picture", "regions")
    across = "own"

    def __init__(self, widths: Widths, scale: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.scale = Scale(**(scale or {}))
        self.pool: Any = None

    def collate(self, out: Batch, items: Sequence[tuple[Record, Sample]], model: Any) -> None:
        """Put boxes and descriptions into the batch."""
        collate_regions(out, items, model)

    def in_processes(self, name: str, processes: Any, batch: int) -> None:
        """Regions meet the descriptions of all processes."""
        self.pool = processes.group

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss over the matched regions of the batch."""
        boxes, regions, target, mask = _needed(f, batch)
        i, q, t = match_boxes(boxes, target, mask)
        if not len(i) and self.pool is None:
            return nothing(regions)
        at = mask.nonzero()
        texts, same = regions.flatten(0, 1)[:0], at[:, 0]
        if len(at) and batch.region_tokens is not None and batch.region_token_mask is not None:
            ids, token_mask = batch.region_tokens[mask], batch.region_token_mask[mask]
            texts = step.model.text_vectors(ids, token_mask, [batch.region_lang[int(b)] for b in at[:, 0]])[0]
            same = _hash(ids, token_mask)
        # descriptions are named by (image, place), regions by what they matched: no counting that could shift
        name = at[:, 0] * mask.shape[1] + at[:, 1]
        mine = i * mask.shape[1] + t
        own_same = same[torch.searchsorted(name, mine)]
        x = torch.nn.functional.normalize(regions[i, q], dim=-1)
        options, more = ContrastOptions(reduce="one_way"), {"pair_id": own_same, "pair_id_b": same, "group": self.pool}
        return pooled_queries(x, texts, mine, name, options, scale=self.scale()[0], **more)


def _hash(ids: Tensor, mask: Tensor) -> Tensor:
    """Return a number ≥ 0 that is equal for equal texts [M, L], in any process and whatever their padding."""
    power = torch.full((ids.shape[1],), 6364136223846793005, device=ids.device).cumprod(0)  # wraps around, on purpose
    return (((ids + 1) * mask * power).sum(1)) & 0x7FFF_FFFF_FFFF_FFFF
