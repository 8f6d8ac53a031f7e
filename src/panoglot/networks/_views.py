"""What of a picture is shown: one path for its pixels, its regions, their masks and their points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from panoglot.errors import RowError
from panoglot.networks._records import RegionText
from panoglot.networks.samplers._draw import Draw
from panoglot.pictures import Image, decode_mask, fit_shorter, read_header

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "MEAN", "STD", "View", "choose_view", "large_enough", "load_pixels", "load_sized", "normalised", "shown_frames",
    "shown_of", "square", "square_of",
]  # fmt: skip

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

#: A region of which less than this share is left in a view is not shown: its text would speak of something else.
LEAST = 0.2


@dataclass(frozen=True, slots=True)
class View:
    """A part of a picture, in shares of its width and height, stretched to a square, mirrored, upside down, turned.

    Attributes:
        x0, y0, x1, y1: the part.
        flip: left and right change places.
        flop: top and bottom change places, after that.
        turns: quarter turns against the clock, after that.

    >>> View(0.5, 0, 1, 1).box((0.25, 0.25, 0.75, 0.75)), View(0, 0, 1, 1, True).box((0.0, 0.0, 0.25, 1.0))
    ((0.0, 0.25, 0.5, 0.75), (0.75, 0.0, 1.0, 1.0))
    """

    x0: float = 0.0
    y0: float = 0.0
    x1: float = 1.0
    y1: float = 1.0
    flip: bool = False
    flop: bool = False
    turns: int = 0

    def pixels(self, x: Tensor, side: int | None = None) -> Tensor:
        """Return what is shown of pixels [C, H, W]: [C, side, side] in the range of the input; None: not resized."""
        height, width = x.shape[1:]
        top, left = round(self.y0 * height), round(self.x0 * width)
        bottom, right = max(top + 1, round(self.y1 * height)), max(left + 1, round(self.x1 * width))
        edges = (max(0, -left), max(0, right - width), max(0, -top), max(0, bottom - height))
        if any(edges):  # more than the picture is shown: nothing around it
            x = F.pad(x, edges)
        x = x[:, top + edges[2] : bottom + edges[2], left + edges[0] : right + edges[0]]
        if side is not None and x.shape[1:] != (side, side):
            x = F.interpolate(x[None], (side, side), mode="bicubic", align_corners=False, antialias=True)[0].clamp(0, 1)
        x = x.flip([axis for axis, there in ((2, self.flip), (1, self.flop)) if there])
        return x.rot90(self.turns, (1, 2)) if self.turns else x

    def mask(self, mask: Tensor, side: int) -> Tensor:
        """Return what is shown of a mask, bool [h, w] of any size: bool [side, side]."""
        shown = self.pixels(mask[None].float())
        return F.interpolate(shown[None], (side, side), mode="area")[0, 0] >= 0.5

    def point(self, x: float, y: float) -> tuple[float, float] | None:
        """Return where a point is shown; None: outside."""
        if not (self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1):
            return None
        across, down = (x - self.x0) / (self.x1 - self.x0), (y - self.y0) / (self.y1 - self.y0)
        across, down = (1 - across if self.flip else across), (1 - down if self.flop else down)
        for _ in range(self.turns % 4):
            across, down = down, 1 - across
        return across, down

    def box(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
        """Return where a box (x0, y0, x1, y1 in shares) is shown, cut at the edge; None: outside, or nearly."""
        x0, x1 = max(box[0], self.x0), min(box[2], self.x1)
        y0, y1 = max(box[1], self.y0), min(box[3], self.y1)
        whole = (box[2] - box[0]) * (box[3] - box[1])
        if not (x1 > x0 and y1 > y0) or (x1 - x0) * (y1 - y0) < LEAST * whole:
            return None
        (left, top), (right, bottom) = self.point(x0, y0) or (0.0, 0.0), self.point(x1, y1) or (1.0, 1.0)
        return min(left, right), min(top, bottom), max(left, right), max(top, bottom)

    def region(self, region: RegionText, side: int, size: tuple[int, int]) -> RegionText | None:
        """Return a region as it is shown: box, mask and points moved; None: nothing, or too little, is left of it.

        Args:
            region: of the whole picture.
            side: of the square that is shown, which masks are brought to.
            size: (width, height) of the picture, for masks that are run-length strings.
        """
        centred = region.centred()
        if centred is None:
            return None
        cx, cy, w, h = centred
        box = self.box((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
        if box is None:
            return None
        mask: Any = region.mask
        if mask is not None:
            raw = decode_mask(mask, *size) if isinstance(mask, str) else np.asarray(mask, bool)
            mask = self.mask(torch.from_numpy(np.ascontiguousarray(raw)), side).numpy()
        moved = [(self.point(x, y), inside) for x, y, inside in region.points]
        points = tuple((*at, inside) for at, inside in moved if at is not None)
        return replace(region, box=box, frame=(1.0, 1.0), mask=mask, points=points)


def choose_view(
    height: int,
    width: int,
    draw: Draw | None = None,
    scale: tuple[float, float] = (0.9, 1.0),
    flip: float = 0.0,
    share: float | None = None,
    flop: float = 0.0,
    turn: bool = False,
    pad: float = 0.0,
) -> View:
    """Return the square in the middle, or where a draw is given a random part.

    Args:
        height: of the picture in pixels.
        width: likewise.
        draw: what the part depends on.
        scale: share of the area that is kept.
        flip: probability of a mirrored one.
        share: of each side that is kept, whatever the scale: 289 of 346 pixels (ALIGN).
        flop: probability of one upside down.
        turn: no, one, two or three quarter turns, each as likely.
        pad: longer sides than so many shorter ones are shown further out, with black beside the picture, and a draw
            moves nothing: SPRC pads such pictures to this ratio and shows the middle. 0: nothing beside it is shown.
    """
    if draw is None or pad:
        edge = max(min(height, width), int(max(height, width) / pad) if pad else 0)
        top, left, h, w = (height - edge) // 2, (width - edge) // 2, edge, edge
    elif share is not None:
        h, w = max(1, round(height * share)), max(1, round(width * share))
        top, left = draw.below(height - h + 1), draw.below(width - w + 1)
    else:
        area = (scale[0] + (scale[1] - scale[0]) * draw.number()) * height * width
        ratio = (3 / 4) ** (1 - 2 * draw.number())
        h = max(1, min(height, round((area / ratio) ** 0.5)))
        w = max(1, min(width, round((area * ratio) ** 0.5)))
        top, left = draw.below(height - h + 1), draw.below(width - w + 1)
    mirrored = draw is not None and flip > 0 and draw.number() < flip
    upside = draw is not None and flop > 0 and draw.number() < flop
    turns = draw.below(4) if draw is not None and turn else 0
    return View(left / width, top / height, (left + w) / width, (top + h) / height, mirrored, upside, turns)


def normalised(x: Tensor) -> Tensor:
    """Return pixels [3, H, W] in 0..1 as towers want them."""
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def load_pixels(image: Any, side: int) -> Tensor:
    """Return the pixels of `load_sized`."""
    return load_sized(image, side)[0]


def load_sized(image: Any, side: int | None) -> tuple[Tensor, tuple[int, int]]:
    """Return [3, H, W] in 0..1, and its size, of a picture, a path, encoded bytes (or what returns them), or an array.

    Args:
        image: the picture.
        side: a shorter side of so many pixels is enough; None: decoded in full.

    Returns:
        The pixels, and (width, height) of the picture as it is stored, upright.

    Raises:
        RowError: the picture is broken, or holds numbers that are not finite.
    """
    if isinstance(image, np.ndarray):
        x = torch.from_numpy(np.ascontiguousarray(image)).float()
        if x.dim() != 3 or x.shape[0] != 3:
            raise RowError("bad_shape", f"an array picture must be [3, H, W], got {tuple(x.shape)}")
        if not bool(torch.isfinite(x).all()):
            raise RowError("not_finite", "the picture has NaN or infinite values")
        return x, (x.shape[2], x.shape[1])
    picture = _picture(image)
    return _scaled(picture.pixels(side)), (picture.width, picture.height)


def _picture(image: Any) -> Image:
    try:
        if callable(image):
            image = image()
        if isinstance(image, str):
            image = Image.from_path(image)
        return image if isinstance(image, Image) else Image(image)
    except OSError as error:
        raise RowError("unreadable", str(error)) from error


def _scaled(pixels: np.ndarray) -> Tensor:
    """Return uint8 [H, W, 3] as [3, H, W] in 0..1."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def square_of(image: Any, side: int, pad: float = 0.0) -> Tensor:
    """Return the middle of a picture as a normalised square [3, side, side]: what a trained model is shown in use.

    It is what other libraries make of the picture for CLIP, so that a model that was exported gives the same vectors:
    Pillow's bicubic resize of the shorter side, and the middle. See `load_sized` for what a picture may be, and errors;
    `choose_view` for `pad`.
    """
    if pad or isinstance(image, np.ndarray):
        x = load_pixels(image, side)
        return normalised(choose_view(x.shape[1], x.shape[2], pad=pad).pixels(x, side))
    return normalised(_scaled(np.asarray(fit_shorter(_picture(image).pil(2 * side), side, side))))


def shown_of(image: Any, row: Any) -> Tensor:
    """Return a picture as a row's model is shown it in use: `square_of` by its size and its `views: {pad: …}`."""
    return square_of(image, row.size, float(row.views.get("pad", 0.0)))


def square(x: Tensor, side: int, draw: Draw | None = None, scale: tuple[float, float] = (0.9, 1.0)) -> Tensor:
    """Return a normalised square [3, side, side]: the middle, or a random part where a draw is given.

    Args:
        x: [3, H, W] in 0..1.
        side: pixels.
        draw: what the part depends on.
        scale: share of the area that is kept.
    """
    return normalised(choose_view(x.shape[1], x.shape[2], draw, scale).pixels(x, side))


def large_enough(picture: Any, least: int) -> Any:
    """Return the bytes of a stored picture; any other one as it is.

    Raises:
        RowError: it has fewer bytes, or a side of one pixel.
    """
    if not callable(picture):
        return picture
    data: bytes = picture()
    if len(data) < least or min(read_header(data).upright) <= 1:
        raise RowError("small_picture", f"a picture of {len(data):,} bytes")
    return data


def shown_frames(frames: Sequence[Any], most: int) -> list[Any]:
    """Return at most so many frames, spread evenly.

    >>> shown_frames("abcdefghi", 3), shown_frames("ab", 3)
    (['b', 'e', 'h'], ['a', 'b'])
    """
    count = min(most, len(frames))
    return [frames[(2 * n + 1) * len(frames) // (2 * count)] for n in range(count)]
