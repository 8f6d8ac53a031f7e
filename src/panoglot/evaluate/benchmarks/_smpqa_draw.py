"""Draw charts with words of any language: with a font that has every character, shaped as the script wants it."""

from __future__ import annotations

import io
import math
import subprocess
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.checks import offenders
from panoglot.errors import UserError

if TYPE_CHECKING:
    import PIL.ImageFont

__all__ = ["COLOURS", "Chart", "Font", "draw_chart", "find_font", "missing_characters", "needs_shaping"]

#: Colours that people name alike.
COLOURS = {
    "red": "#d62728", "blue": "#1f4fd6", "green": "#2a9d3a", "yellow": "#f2d200", "orange": "#ff8c1a",
    "purple": "#8a3fbf", "pink": "#ff8fc7", "brown": "#7b4a21", "grey": "#8c8c8c", "black": "#111111",
}  # fmt: skip
SIZE = 640
_PLACES = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/Library/Fonts")


@dataclass(frozen=True)
class Font:
    """A font file, and which face of it.

    Attributes:
        path: of the file.
        index: of the face in a collection.
    """

    path: str
    index: int = 0

    def at(self, size: int, shaped: bool = True) -> PIL.ImageFont.FreeTypeFont:
        """The font at a size in pixels; `shaped` lays text out as its script wants it where Pillow can."""
        import PIL.features
        import PIL.ImageFont

        raqm = shaped and PIL.features.check("raqm")
        engine = PIL.ImageFont.Layout.RAQM if raqm else PIL.ImageFont.Layout.BASIC
        try:
            return PIL.ImageFont.truetype(self.path, size, index=self.index, layout_engine=engine)
        except OSError as error:
            raise UserError(f"{self.path} is not a font that can be read ({error}).") from None


@dataclass(frozen=True)
class Chart:
    """What is drawn.

    Attributes:
        kind: `bar` (from top to bottom) or `pie` (clockwise from the top).
        labels: a word for each bar or slice.
        values: their sizes, all different.
        colours: names in `COLOURS`, all different.
    """

    kind: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    colours: tuple[str, ...]


def needs_shaping(text: str) -> bool:
    """Whether letters join, move or run from right to left, so that one after another would be wrong.

    >>> [needs_shaping(text) for text in ("Tür", "高山", "หนังสือ", "كتاب", "कि", "책")]
    [False, False, True, True, True, False]
    """
    composed = unicodedata.normalize("NFC", text)
    return any(unicodedata.category(c) in ("Mn", "Mc") or unicodedata.bidirectional(c) in ("R", "AL") for c in composed)


def missing_characters(font: Font, texts: Iterable[str]) -> list[str]:
    """Characters that the font has no glyph for: they would be drawn as boxes, or not at all."""
    face = font.at(32, shaped=False)

    def drawn(character: str) -> tuple[Any, bytes]:
        mask = face.getmask(character)
        return mask.size, bytes(mask)

    box = drawn("\U0010ffff")  # no character: every font draws its mark for missing ones
    wanted = {c for text in texts for c in text if not c.isspace() and unicodedata.category(c) != "Cf"}
    return sorted(c for c in wanted if drawn(c) == box)


def find_font(lang: str, texts: Sequence[str], given: str | None = None) -> Font:
    """A font here with every character of the texts.

    Args:
        lang: language of the texts.
        texts: what is to be drawn.
        given: take this file, and no other.

    Raises:
        UserError: no font has all characters; or the texts need shaping and Pillow cannot (it lacks raqm).
    """
    import PIL.features

    if any(map(needs_shaping, texts)) and not PIL.features.check("raqm"):
        raise UserError(
            f"'{lang}' needs letters that join or move, and this Pillow cannot shape text (it has no raqm): install "
            "pillow's wheel from PyPI, and libfribidi0."
        )
    fonts = [Font(given)] if given is not None else _fonts(lang)
    fewest: list[str] | None = None
    for font in fonts:
        gone = missing_characters(font, texts)
        if not gone:
            return font
        fewest = gone if fewest is None or len(gone) < len(fewest) else fewest
    where = given or f"none of {len(fonts)} fonts here"
    raise UserError(
        f"'{lang}': {where} has all characters ({offenders(fewest or ['no font at all'])} missing): install one, on "
        "Debian fonts-noto-core or fonts-noto-cjk, or give it, font=PATH."
    )


@lru_cache(64)
def _fonts(lang: str) -> list[Font]:
    """Upright fonts for a language, plain sans-serif ones first; the same order everywhere."""
    found: set[Font] = set()
    try:
        for pattern in (f":lang={lang.lower()}", ":"):
            asked = ["fc-list", pattern, "--format", "%{file}|%{index}|%{style}\n"]
            said = subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout
            for line in said.splitlines():
                path, index, style = [*line.rsplit("|", 2), "", ""][:3]
                if path.lower().endswith((".ttf", ".otf", ".ttc")) and not any(w in style for w in ("Bold", "Italic")):
                    found.add(Font(path, int(index or 0) & 0xFFFF))  # the upper half: a variable font's named style
            if found:
                break
    except (OSError, subprocess.TimeoutExpired):
        for place in _PLACES:
            for file in Path(place).expanduser().rglob("*.[to]t[fc]"):
                if not any(word in file.name for word in ("Bold", "Italic", "Oblique")):
                    found.add(Font(str(file)))

    def order(font: Font) -> tuple[bool, bool, int, str, int]:
        name = Path(font.path).name
        return not name.startswith("NotoSans"), "Regular" not in name, len(name), name, font.index

    return sorted(found, key=order)


def draw_chart(chart: Chart, font: Font, size: int = 26) -> bytes | None:
    """The chart as a PNG of 640 x 640; None where words would touch each other or leave the picture."""
    import PIL.Image
    import PIL.ImageDraw

    picture = PIL.Image.new("RGB", (SIZE, SIZE), "white")
    pen = PIL.ImageDraw.Draw(picture)
    face = font.at(size)
    boxes = (_bars if chart.kind == "bar" else _pie)(chart, pen, face)
    if boxes is None:
        return None
    for label, box in zip(chart.labels, boxes):
        left, top, _, _ = face.getbbox(label)
        pen.text((box[0] - left, box[1] - top), label, fill="black", font=face)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


Box = tuple[float, float, float, float]


def _bars(chart: Chart, pen: Any, face: Any) -> list[Box] | None:
    """Bars from the left, a word before each."""
    sizes = [_extent(face, label) for label in chart.labels]
    start = max(width for width, _ in sizes) + 40
    step = (SIZE - 60) / len(chart.labels)
    if start > SIZE * 0.6 or max(height for _, height in sizes) > step - 6:
        return None
    pen.line([(start, 20), (start, SIZE - 40)], fill="black", width=2)
    boxes: list[Box] = []
    longest = max(chart.values)
    for n, (value, colour, (width, height)) in enumerate(zip(chart.values, chart.colours, sizes)):
        top = 25 + n * step
        pen.rectangle([start, top + step * 0.15, start + (SIZE - start - 20) * value / longest, top + step * 0.85],
                      fill=COLOURS[colour], outline="black")  # fmt: skip
        middle = top + step / 2
        boxes.append((start - 15 - width, middle - height / 2, start - 15, middle + height / 2))
    return boxes


def _pie(chart: Chart, pen: Any, face: Any) -> list[Box] | None:
    """Slices clockwise from the top, a word beside each."""
    centre, radius = SIZE / 2, SIZE * 0.27
    total, angle = sum(chart.values), -90.0
    boxes: list[Box] = []
    for label, value, colour in zip(chart.labels, chart.values, chart.colours):
        turn = 360 * value / total
        area = [centre - radius, centre - radius, centre + radius, centre + radius]
        pen.pieslice(area, angle, angle + turn, fill=COLOURS[colour], outline="black")
        middle = math.radians(angle + turn / 2)
        width, height = _extent(face, label)
        away, gap = radius + 10, 0.0
        while gap < radius + 8:  # outwards until no corner of a long word lies over the pie
            x, y = centre + away * math.cos(middle), centre + away * math.sin(middle)
            left = x + (math.cos(middle) - 1) / 2 * width
            top = y + (math.sin(middle) - 1) / 2 * height
            box = (left, top, left + width, top + height)
            gap = math.dist((centre, centre), (min(max(centre, box[0]), box[2]), min(max(centre, box[1]), box[3])))
            away += 2
        boxes.append(box)
        angle += turn
    inside = all(box[0] > 4 and box[1] > 4 and box[2] < SIZE - 4 and box[3] < SIZE - 4 for box in boxes)
    apart = all(
        a[2] + 6 < b[0] or b[2] + 6 < a[0] or a[3] + 4 < b[1] or b[3] + 4 < a[1]
        for n, a in enumerate(boxes)
        for b in boxes[n + 1 :]
    )
    return boxes if inside and apart else None


def _extent(face: Any, text: str) -> tuple[float, float]:
    left, top, right, bottom = face.getbbox(text)
    return right - left, bottom - top
