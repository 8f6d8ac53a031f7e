"""What losses of regions put into a batch: boxes, masks, boxes in a room, texts; each once, whoever asks first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from panoglot.networks._records import Batch, Record
from panoglot.networks.samplers import Sample

__all__ = ["collate_regions", "mask_of"]


def collate_regions(out: Batch, items: Sequence[tuple[Record, Sample]], model: Any, *, masks: bool = False) -> None:
    """Fill in `boxes`, `region_mask`, `boxes3`, `masks` where they are asked for, and the tokens of the texts.

    Args:
        out: the batch.
        items: what each item shows; its regions are where the view has them.
        model: for its tokeniser.
        masks: [B, R, S, S] too, S the side of the pictures; a region without a mask is its box.
    """
    most = max(1, max(len(s.regions) for _, s in items))
    if out.boxes is None:
        out.boxes = torch.zeros(len(items), most, 4)
        out.region_mask = torch.zeros(len(items), most, dtype=torch.bool)
        if any(x.box3 is not None for _, s in items for x in s.regions):
            out.boxes3 = torch.zeros(len(items), most, 6)
        for i, (_, s) in enumerate(items):
            for j, x in enumerate(s.regions):
                centred = x.centred()
                if centred is not None:
                    out.boxes[i, j], out.region_mask[i, j] = torch.tensor(centred), True
                if out.boxes3 is not None and x.box3 is not None:
                    out.boxes3[i, j] = torch.tensor(x.box3)
        tokens = getattr(model.text, "tokens", None)
        if tokens is not None:
            texts = [[x.text for x in s.regions] + [""] * (most - len(s.regions)) for _, s in items]
            ids, mask = tokens([t for row in texts for t in row])
            out.region_tokens, out.region_token_mask = (z.unflatten(0, (len(items), most)) for z in (ids, mask))
        out.region_lang = [s.lang for _, s in items]
    if masks and out.masks is None:
        side = model.row.size
        out.masks = torch.zeros(len(items), most, side, side, dtype=torch.bool)
        for i, (_, s) in enumerate(items):
            for j, x in enumerate(s.regions):
                out.masks[i, j] = mask_of(x, side)


def mask_of(region: Any, side: int) -> torch.Tensor:
    """Return the mask of a region as it is shown, bool [side, side]; without one its box."""
    if region.mask is not None:
        return torch.from_numpy(np.ascontiguousarray(region.mask))
    out = torch.zeros(side, side, dtype=torch.bool)
    centred = region.centred()
    if centred is not None:
        cx, cy, w, h = (v * side for v in centred)
        out[round(cy - h / 2) : max(1, round(cy + h / 2)), round(cx - w / 2) : max(1, round(cx + w / 2))] = True
    return out
