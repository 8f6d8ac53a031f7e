"""Which patches a model looks at: those that it hid and painted (SyCoCa), those of each sentence (DreamLIP)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from panoglot.charts import Canvas
from panoglot.errors import UserError
from panoglot.networks import Data
from panoglot.networks._records import Batch, Record
from panoglot.networks._views import MEAN, STD
from panoglot.networks.losses import grouped_patches, patchify
from panoglot.training._boxes import as_shown

__all__ = ["draw_groups", "draw_masks"]

#: Pictures that are drawn, the side of one on the page, and the sentences of each.
_PICTURES, _SIDE, _SAID = 4, 200, 3
#: What a hidden patch looks like, in the tower's values: grey.
_GREY = 0.0


@torch.no_grad()
def draw_masks(model: Any, records: Sequence[Record], title: str) -> str | None:
    """Draw pictures as SyCoCa's two tasks see them: what is captioned from, what is hidden, and what was painted.

    What is painted has the mean and the deviation of the true patch, as it is learnt without both.

    Args:
        model: with the part `inpaint`.
        records: pictures with texts, best ones that it has not seen; the first by id are drawn.
        title: of the page.

    Returns:
        The SVG; None: no picture with a text could be read.
    """
    part, caption = model.parts["inpaint"], dict(model.parts).get("caption")
    rows = []
    for batch, image, f in _looked(model, records):
        hide, painted = part.paint(f, batch, model)
        pixels = patchify(image, part.patch)
        spread = (pixels.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
        whole = torch.where(hide[..., None], painted * spread + pixels.mean(-1, keepdim=True), pixels)
        tiles = [("the picture", image[0])]
        kept = None if caption is None else caption.kept(f, batch)
        if kept is not None:
            tiles.append(("captioned from", _folded(torch.where(kept[..., None], pixels, _GREY), image)))
        tiles.append(("hidden", _folded(torch.where(hide[..., None], _GREY, pixels), image)))
        tiles.append(("painted from the rest and the text", _folded(whole, image)))
        rows.append((batch.texts[0][0], tiles))
    return _page(title, rows, "what was captioned from, hidden and painted")


@torch.no_grad()
def draw_groups(model: Any, records: Sequence[Record], title: str) -> str | None:
    """Draw, for each of some sentences of a picture, the patches that it pulls (DreamLIP): the paler, the less.

    Args:
        model: with the part `group_patches`.
        records: as of `draw_masks`.
        title: of the page.

    Returns:
        The SVG; None: no picture with a sentence could be read.
    """
    part, rows = model.parts["group_patches"], []
    for batch, image, f in _looked(model, records):
        weights = grouped_patches(f.local, f.y[None], delta=part.delta, norm=part.norm)[1][0]  # [K, N]
        side = math.isqrt(weights.shape[1])
        if side**2 != weights.shape[1] or image.shape[-1] % side:
            return None  # a tower whose places are no squares of the picture
        pixels = patchify(image, image.shape[-1] // side)
        white = ((1 - torch.tensor(MEAN)) / torch.tensor(STD)).to(image).view(1, 3, 1, 1).expand_as(image)
        white = patchify(white, image.shape[-1] // side)
        tiles = [("the picture", image[0])]
        said = [text for text in batch.texts[0] if text]
        each = dict(zip(said, weights, strict=True))  # a sampler may draw a sentence twice
        for text, weight in list(each.items())[:_SAID]:
            share = (weight / weight.max())[None, :, None]
            tiles.append((text, _folded(share * pixels + (1 - share) * white, image)))
        rows.append(("", tiles))
    return _page(title, rows, "the patches of each sentence")


def _looked(model: Any, records: Sequence[Record]) -> list[tuple[Batch, Tensor, Any]]:
    """Return some pictures, whole, with the texts that the row's sampler gives of them, and what the towers make.

    Returns:
        For each its batch, its pixels [1, 3, H, W] and the features.
    """
    model.eval()
    here = next(model.parameters()).device
    out: list[tuple[Batch, Tensor, Any]] = []
    for record in sorted(records, key=lambda r: r.id):
        if len(out) == _PICTURES:
            break
        try:
            data = Data([record], model, augment=False, row=replace(model.row, batch=1))
            batch = data.batch([(record.id, 0)], 0).to(here)
        except UserError:  # nothing that the sampler takes
            continue
        if len(batch) and batch.image is not None:
            out.append((batch, batch.image[:, 0], model.features(batch)))
    return out


def _folded(pixels: Tensor, like: Tensor) -> Tensor:
    """Return [3, H, W] of its patches [1, N, P], in the order of `patchify`."""
    side = round((pixels.shape[-1] / 3) ** 0.5)
    whole: Tensor = torch.nn.functional.fold(pixels.transpose(1, 2), like.shape[-2:], side, stride=side)
    return whole[0]


def _page(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, Tensor]]]], about: str) -> str | None:
    """Return a line of pictures for each text, with what each is below it."""
    page, y = Canvas(), 44
    page.text(16, 24, title, size=16, bold=True)
    for text, tiles in rows:
        if text:
            page.text(16, y + 6, _cut(text, 90), size=12)
            y += 16
        for n, (name, pixels) in enumerate(tiles):
            x = 16 + n * (_SIDE + 20)
            page.picture(x, y, _SIDE, _SIDE, as_shown(pixels.cpu()).data_uri)
            page.text(x, y + _SIDE + 16, _cut(name, 34), size=11)
        y += _SIDE + 40
    return page.svg(title, f"{len(rows)} pictures: {about}") if rows else None


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
