"""Hidden codes of a picture from its text (MaskGIT, ITIT): what a painter learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Term
from panoglot.networks.losses import lm
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.samplers import Draw

__all__ = ["PaintPart", "hidden_cells"]


def hidden_cells(batch: Batch, cells: int, ratio: tuple[float, float], name: str) -> Tensor:
    """Return which cells of each picture are hidden, [B, cells] bool: at least one; a function of (seed, epoch, id)."""
    out = torch.zeros(len(batch), cells, dtype=torch.bool)
    for i, id_ in enumerate(batch.ids):
        draw = Draw(batch.seed, id_, name)
        count = max(1, min(cells, round(cells * (ratio[0] + (ratio[1] - ratio[0]) * draw.number()))))
        out[i, draw.sample(range(cells), count)] = True
    return out


class PaintPart(Part):
    """Nats a hidden cell, from the cells that are seen and the text.

    Args:
        widths: of the model.
        ratio: least and greatest share of cells that is hidden.

    Source: ITIT arXiv 2310.03734, L_T2I.
    """

    needs, reads, gives = ("painter", "tokeniser"), ("picture", "text"), ("paint",)

    def __init__(self, widths: Widths, ratio: tuple[float, float] = (0.5, 1.0)) -> None:
        super().__init__()
        if not 0 <= ratio[0] <= ratio[1] <= 1:
            raise UserError(f"paint: ratio={ratio} must rise within 0..1.")
        self.ratio = (float(ratio[0]), float(ratio[1]))

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss of the hidden cells."""
        codes = step.codes()
        hide = hidden_cells(batch, codes.shape[1], self.ratio, "paint").to(codes.device)
        text, mask = step.model.said(batch)
        return lm(step.paint_logits(codes, hide, text, mask), codes.masked_fill(~hide, -100))
