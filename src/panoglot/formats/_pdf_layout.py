"""A page of a PDF as it is laid out: its lines and blocks of text, its pictures, and which caption is whose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ctypes import c_double
from dataclasses import dataclass, field
from typing import Any

from panoglot.formats._numbered import caption_number, joined_lines
from panoglot.formats._pdf_letters import Direction, Letter, forwards, line_text

__all__ = ["Block", "Box", "Places", "blocks_of", "pair_captions"]

#: Left, top, right, bottom in points, from the upper left corner of the page as it is seen.
Box = tuple[float, float, float, float]
_MOST_CHARACTERS = 200_000  # of a page
_LONGEST = 5000  # characters of a caption
_NEAR = 72.0  # points between a picture and its caption


@dataclass
class Block:
    """Lines of one text.

    Attributes:
        box: where it stands.
        lines: its lines.
        number: of the figure that it is the caption of, or None.
    """

    box: Box
    lines: list[str]
    number: str | None = None
    _height: float = field(default=0.0, repr=False)
    _pitch: float = field(default=0.0, repr=False)
    _last: Box = field(default=(0.0, 0.0, 0.0, 0.0), repr=False)

    @property
    def text(self) -> str:
        """The lines as one text."""
        return joined_lines(self.lines)[:_LONGEST]

    def takes(self, box: Box, text: str) -> bool:
        """Take in a line, if it goes on with this block."""
        pitch, height = box[1] - self._last[1], box[3] - box[1]
        if not 0.7 <= height / max(self._height, 0.1) <= 1.4 or _overlap(box, self.box, 0) <= 0:
            return False
        if (
            not 0 < pitch <= (1.25 * self._pitch or 1.7 * self._height)
            or caption_number(joined_lines([text])) is not None
        ):
            return False
        self._pitch = self._pitch or pitch
        self.box, self._last = _union(self.box, box), box
        self.lines.append(text)
        return True


class Places:
    """Turns places of a page into boxes as they are seen.

    Args:
        bbox: left, bottom, right, top of what is seen of the page, unturned.
        rotation: how far the page is turned clockwise: 0, 90, 180 or 270.
    """

    def __init__(self, bbox: Sequence[float], rotation: int) -> None:
        self._left, self._bottom, self._right, self._top = bbox
        self._rotation = rotation
        width, height = self._right - self._left, self._top - self._bottom
        self.size = (width, height) if rotation in (0, 180) else (height, width)

    def box(self, left: float, bottom: float, right: float, top: float) -> Box:
        """The box of a place."""
        x = sorted((left - self._left, right - self._left))
        y = sorted((bottom - self._bottom, top - self._bottom))
        width, height = self._right - self._left, self._top - self._bottom
        if self._rotation == 90:
            return y[0], x[0], y[1], x[1]
        if self._rotation == 180:
            return width - x[1], y[0], width - x[0], y[1]
        if self._rotation == 270:
            return height - y[1], width - x[1], height - y[0], width - x[0]
        return x[0], height - y[1], x[1], height - y[0]

    def share(self, box: Box) -> list[float]:
        """A box in 0..1 of the page."""
        width, height = (max(side, 1e-6) for side in self.size)
        edges = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
        return [round(min(max(edge, 0.0), 1.0), 5) for edge in edges]


def blocks_of(textpage: Any, places: Places, raw: Any) -> tuple[list[Block], int]:
    """The texts of a page in the order in which it writes them, and how many signs the file names no character for.

    Args:
        textpage: PDFium's.
        places: of the page.
        raw: `pypdfium2.raw`.
    """
    blocks: list[Block] = []
    lines = [(box, forwards(letters)) for box, letters in _lines(textpage, places, raw)]
    page = Direction.of(letters for _, letters in lines)
    unknown = 0
    for box, letters in lines:
        text, lost = line_text(letters, page)
        unknown += lost
        if not (text := text.strip()):
            continue
        if not blocks or not blocks[-1].takes(box, text):
            number = caption_number(joined_lines([text]))
            blocks.append(Block(box, [text], number, box[3] - box[1], 0.0, box))
    return blocks, unknown


def _lines(textpage: Any, places: Places, raw: Any) -> Iterator[tuple[Box, list[Letter]]]:
    rect, matrix, x, y = raw.FS_RECTF(), raw.FS_MATRIX(), c_double(), c_double()
    line: list[Letter] = []
    box: Box | None = None
    for n in range(min(textpage.count_chars(), _MOST_CHARACTERS)):
        code = raw.FPDFText_GetUnicode(textpage, n)
        made = raw.FPDFText_IsGenerated(textpage, n) == 1
        control = code < 32 and code not in (9, 10, 13) and not made and raw.FPDFText_IsHyphen(textpage, n) != 1
        unknown = control or raw.FPDFText_HasUnicodeMapError(textpage, n) == 1
        ends = code in (10, 13) and not unknown
        there: Box | None = None
        if code and not ends and raw.FPDFText_GetLooseCharBox(textpage, n, rect):
            seen = places.box(rect.left, rect.bottom, rect.right, rect.top)
            there = seen if seen[2] > seen[0] and seen[3] > seen[1] else None
        if ends or (there and box and _elsewhere(there, box)):
            if box:
                yield box, line
            line, box = [], None
        if code and not ends:
            raw.FPDFText_GetCharOrigin(textpage, n, x, y)
            at = there or places.box(x.value, y.value, x.value, y.value)
            size = raw.FPDFText_GetFontSize(textpage, n)
            if raw.FPDFText_GetMatrix(textpage, n, matrix):
                size *= abs(matrix.a * matrix.d - matrix.b * matrix.c) ** 0.5
            line.append(
                Letter(chr(code), at[0], at[2], (round(x.value, 1), round(y.value, 1)), size or 10.0, made, unknown)
            )
            if there and not chr(code).isspace():
                box = _union(box, there) if box else there
    if box:
        yield box, line


def _elsewhere(character: Box, line: Box) -> bool:
    """Say whether a character is of another line: above or below, or after a gap that no word leaves."""
    height, middle = line[3] - line[1], (character[1] + character[3]) / 2
    gap = max(character[0] - line[2], line[0] - character[2])
    return not line[1] - height / 2 <= middle <= line[3] + height / 2 or gap > 4 * height


def _union(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _overlap(one: Box, other: Box, axis: int) -> float:
    """How much two boxes share along an axis, as a share of the shorter of them."""
    shared = min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis])
    return shared / max(min(one[axis + 2] - one[axis], other[axis + 2] - other[axis]), 0.1)


def _below(picture: Box, caption: Box) -> float | None:
    """Points from a picture down to a caption under it, which may begin in its margin; None elsewhere."""
    gap = caption[1] - picture[3]
    margin = -0.1 * (picture[3] - picture[1])
    return max(gap, 0.0) if margin <= gap <= _NEAR and _overlap(picture, caption, 0) > 0.3 else None


def _above(picture: Box, caption: Box) -> float | None:
    gap = picture[1] - caption[3]
    margin = -0.1 * (picture[3] - picture[1])
    return max(gap, 0.0) if margin <= gap <= _NEAR and _overlap(picture, caption, 0) > 0.3 else None


def _beside_or_on(picture: Box, caption: Box) -> float | None:
    """A caption beside its picture, or on it as on a page that was scanned."""
    gap = max(caption[0] - picture[2], picture[0] - caption[2], 0.0)
    return gap if gap <= _NEAR / 2 and _overlap(picture, caption, 1) > 0.5 else None


def pair_captions(pictures: Sequence[Box], captions: Sequence[Box]) -> list[int | None]:
    """Say for every picture which caption is its own.

    All captions of a page stand on one side of their pictures, so that side is taken on which more of them find one.
    What is left may find one on another side, or shares that of a picture close by (parts a and b of one figure).

    >>> page = [(0, 0, 100, 100), (0, 130, 100, 230)]
    >>> pair_captions(page, [(0, 105, 100, 115), (0, 235, 100, 245)])  # below
    [0, 1]
    >>> pair_captions([(0, 20, 100, 100), (0, 120, 100, 230)], [(0, 8, 100, 18), (0, 104, 100, 114)])  # above
    [0, 1]
    >>> pair_captions([(0, 0, 50, 50), (55, 0, 105, 50), (0, 300, 9, 309)], [(0, 55, 50, 65)])
    [0, 0, None]
    """
    sides = [_found(side, pictures, captions) for side in (_below, _above)]
    found, _ = max(sides, key=lambda one: (len({c for c in one[0] if c is not None}), -one[1]))
    for side in (_below, _above, _beside_or_on):
        taken = {caption for caption in found if caption is not None}
        free = [c for c in range(len(captions)) if c not in taken]
        more, _ = _found(side, pictures, [captions[c] for c in free])
        for n, caption in enumerate(more):
            if found[n] is None and caption is not None:
                found[n] = free[caption]
    waiting = [n for n, caption in enumerate(found) if caption is not None]
    while waiting:
        n = waiting.pop()
        for other, box in enumerate(pictures):
            if found[other] is None and _close(pictures[n], box):
                found[other] = found[n]
                waiting.append(other)
    return found


def _found(
    side: Callable[[Box, Box], float | None], pictures: Sequence[Box], captions: Sequence[Box]
) -> tuple[list[int | None], float]:
    """The nearest caption of every picture on a side, and how far they are in all."""
    found: list[int | None] = []
    total = 0.0
    for picture in pictures:
        near = [(far, n) for n, caption in enumerate(captions) if (far := side(picture, caption)) is not None]
        found.append(min(near)[1] if near else None)
        total += min(near)[0] if near else 0.0
    return found, total


def _close(one: Box, other: Box) -> bool:
    """Say whether two pictures stand side by side, or one right under the other."""
    wide = max(other[0] - one[2], one[0] - other[2])
    high = max(other[1] - one[3], one[1] - other[3])
    return (wide <= 24 and _overlap(one, other, 1) > 0.5) or (high <= 24 and _overlap(one, other, 0) > 0.5)
