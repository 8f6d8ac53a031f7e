"""RandAugment: a few changes of a picture, drawn by chance, that leave what it shows as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps

from panoglot.networks.samplers._draw import Draw

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CHANGES", "augmented"]

#: What stands where nothing of the picture is.
_GREY = (128, 128, 128)
_MOST = 10


def _moved(sheared: tuple[float, float] = (0, 0), shifted: tuple[float, float] = (0, 0)) -> Callable[..., Image.Image]:
    """Return a change that shears (by .3 at most) or shifts (by 10 pixels at most), either way."""

    def change(image: Image.Image, strength: float, sign: float) -> Image.Image:
        (a, b), (x, y) = ([sign * strength * one for one in pair] for pair in (sheared, shifted))
        matrix = (1, -a, -x, -b, 1, -y)
        return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=_GREY)

    return change


def _enhanced(kind: Any) -> Callable[..., Image.Image]:
    """Return a change of brightness or sharpness by a factor of .1 to 1.9."""
    return lambda image, strength, sign: kind(image).enhance(0.1 + 1.8 * strength)


#: Name → change of (picture, strength in 0..1, sign).
CHANGES: dict[str, Callable[[Image.Image, float, float], Image.Image]] = {
    "identity": lambda image, strength, sign: image,
    "autocontrast": lambda image, strength, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, strength, sign: ImageOps.equalize(image),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": _moved(sheared=(0.3, 0)),
    "shear_y": _moved(sheared=(0, 0.3)),
    "translate_x": _moved(shifted=(10, 0)),
    "translate_y": _moved(shifted=(0, 10)),
    "rotate": lambda image, strength, sign: image.rotate(
        30 * sign * strength, Image.Resampling.BILINEAR, fillcolor=_GREY
    ),
}


def augmented(x: Tensor, draw: Draw, count: int = 2, strength: float = 7) -> Tensor:
    """Return pixels [3, H, W] in 0..1 after `count` changes, each drawn of ten and made half of the times.

    Args:
        x: [3, H, W] in 0..1.
        draw: what is drawn depends on it.
        count: how many are drawn.
        strength: of a change, in 0..10.

    Source: RandAugment arXiv 1909.13719; the ten changes, their ranges and the half are ALBEF's (2107.07651), which
    M2-Encoder's release takes with count 2 and strength 7.
    """
    image = Image.fromarray((x.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())
    for _ in range(count):
        name, made, sign = draw.choice(list(CHANGES)), draw.number() < 0.5, 1.0 if draw.number() < 0.5 else -1.0
        if made:
            image = CHANGES[name](image, strength / _MOST, sign)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
