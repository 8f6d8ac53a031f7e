"""Where a model finds what is said: its boxes drawn on pictures that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch

from panoglot.charts import SERIES, Canvas
from panoglot.errors import RowError
from panoglot.networks._records import Batch, Record
from panoglot.networks._views import MEAN, STD, square_of
from panoglot.pictures import Image

__all__ = ["as_shown", "draw_boxes"]

#: Pictures that are drawn, descriptions of each, and the side of a picture on the page.
_PICTURES, _SAID, _SIDE = 6, 3, 240


@torch.no_grad()
def draw_boxes(model: Any, records: Sequence[Record], title: str) -> str | None:
    """Draw, for each description of a picture, the box of the region that is nearest to it.

    Args:
        model: with a head that finds regions.
        records: pictures with described regions, best ones that it has not seen; the first by id are drawn.
        title: of the page.

    Returns:
        The SVG; None: no picture with a described region could be read.
    """
    model.eval()
    here, page, drawn = next(model.parameters()).device, Canvas(), 0
    page.text(16, 24, title, size=16, bold=True)
    for record in sorted(records, key=lambda r: r.id):
        said = list(dict.fromkeys(region.text for region in record.regions if region.text.strip()))[:_SAID]
        if drawn == _PICTURES or not said:
            continue
        try:
            pixels = square_of(record.image, model.row.size)
        except RowError:
            continue
        f = model.features(Batch([record.id], image=pixels[None, None].to(here)), lone=True)
        langs = [next(r.lang for r in record.texts) if record.texts else "und"] * len(said)
        ids, mask = (z.to(here) for z in model.text.tokens(said))
        texts = model.text_vectors(ids, mask, langs)[0]
        scores = texts @ torch.nn.functional.normalize(f.regions[0], dim=-1).T
        x, y = 16 + drawn % 3 * (_SIDE + 24), 44 + drawn // 3 * (_SIDE + 84)
        page.picture(x, y, _SIDE, _SIDE, as_shown(pixels).data_uri)
        for n, (text, best) in enumerate(zip(said, scores.argmax(1).tolist(), strict=True)):
            cx, cy, w, h = (min(max(v, 0.0), 1.0) * _SIDE for v in f.boxes[0, best].tolist())
            left, top = max(0.0, cx - w / 2), max(0.0, cy - h / 2)
            right, bottom = min(float(_SIDE), cx + w / 2), min(float(_SIDE), cy + h / 2)
            page.frame(x + left, y + top, right - left, bottom - top, SERIES[n % len(SERIES)])
            page.mark(x + 5, y + _SIDE + 14 + 18 * n, n)
            page.text(x + 14, y + _SIDE + 18 + 18 * n, text[:38], size=12)
        drawn += 1
    return page.svg(title, f"{drawn} pictures with the boxes found for their descriptions") if drawn else None


def as_shown(pixels: torch.Tensor) -> Image:
    """Return the picture that the tower was shown, of its values [3, H, W]."""
    x = pixels * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    values = (x.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.from_pil(PIL.Image.fromarray(np.ascontiguousarray(values)))
