"""Charts as SVG, in one style everywhere: axes, lines, bars, dots with intervals, legends, chance; as PNG and PDF too.

    page = Canvas(640)
    y = rows_chart(page, 10, "recall@1", [Row("العربية", [Point(.31, .28, .34)], chance=.01)], span=(0, 1))
    save(page.svg("recall of two encoders"), "recall.pdf")

Labels are drawn as they are, in any script, each in a text element of its own, so that names from right to left stay
whole; the fonts are those of whoever looks at the SVG, or of this machine for a PNG or PDF. Every chart carries its
title in words for those who cannot see it. What is only a few bars in a page of HTML is drawn by `inline`.
"""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from panoglot.errors import UserError, require

__all__ = [
    "BAD",
    "CHANCE",
    "GOOD",
    "GRID",
    "INK",
    "SERIES",
    "SOFT",
    "Canvas",
    "Point",
    "Row",
    "Scale",
    "inline",
    "legend",
    "line_panel",
    "number",
    "percent_rect",
    "rows_chart",
    "save",
    "text_width",
    "ticks",
]

INK, SOFT, GRID, PAPER = "#15191b", "#566066", "#d9dddd", "#ffffff"
#: Of series, in order: told apart by lightness as well as by hue; each also has a mark of its own.
SERIES = ("#0c6b66", "#d06a2c", "#4f79c4", "#8b4f9f", "#a88419", "#b13a5e")
GOOD, BAD, CHANCE = "#0c6b66", "#b23c17", "#8a9297"
#: Marks of series, in order, around (0, 0).
_MARKS = ("M-3.5,0a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0", "M-3,-3h6v6h-6z", "M0,-4.4l4.4,4.4l-4.4,4.4l-4.4,-4.4z")
FONT = (
    "Noto Sans, Noto Sans Arabic, Noto Sans Hebrew, Noto Sans Devanagari, Noto Sans Bengali, Noto Sans Tamil, "
    "Noto Sans Telugu, Noto Sans Thai, Noto Sans Ethiopic, Noto Sans CJK SC, DejaVu Sans, Arial, sans-serif"
)
TEXT, SMALL, ROW = 12, 11, 18


def text_width(text: str, size: float = TEXT) -> float:
    """About how many pixels a text takes.

    >>> text_width("ab", 10), text_width("中文", 10)
    (11.6, 20.0)
    """
    units = 0.0
    for character in text:
        if not unicodedata.combining(character):
            units += 1.0 if unicodedata.east_asian_width(character) in "WF" else 0.58
    return round(units * size, 1)


def number(value: float) -> str:
    """Write a value beside its bar: three digits that matter, no more.

    >>> number(0.31271), number(12.345), number(1234.5), number(0.00042), number(0)
    ('0.313', '12.3', '1,234', '0.00042', '0')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers that span the values.

    >>> ticks(0, 0.83), ticks(-0.021, 0.013)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [-0.03, -0.02, -0.01, 0.0, 0.01, 0.02])
    """
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / max(1, most - 1)))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if span / (step * factor) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]


def _clean(text: str) -> str:
    """Without what XML does not take and what turns the text after it around."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs") or c in "\u200c\u200d")


@dataclass(frozen=True)
class Scale:
    """Values to pixels: `low` lies at `start`, `high` is `length` pixels on (negative: upwards)."""

    low: float
    high: float
    start: float
    length: float

    def at(self, value: float) -> float:
        """Pixel of a value; beyond the ends it stays at the end."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + self.length * min(1.0, max(0.0, share))


@dataclass
class Canvas:
    """Where charts are drawn; it grows to hold what was drawn. Attributes: size so far, and the parts."""

    width: float = 0.0
    height: float = 0.0
    parts: list[str] = field(default_factory=list)

    def _reach(self, x: float, y: float) -> None:
        self.width, self.height = max(self.width, x), max(self.height, y)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        size: float = TEXT,
        fill: str = INK,
        bold: bool = False,
        turn: int = 0,
    ) -> None:
        """Write one line; `anchor` is start, middle or end of it, whatever the direction of its script."""
        spin = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:g}" fill="{fill}"{weight}{spin}>'
            f"{escape(_clean(text))}</text>"
        )
        wide = text_width(text, size)
        self._reach(
            x + (wide if anchor == "start" else wide / 2 if anchor == "middle" else 0) if not turn else x, y + 4
        )

    def rect(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Fill a box."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{fill}"/>'
        )
        self._reach(x + width, y + height)

    def picture(self, x: float, y: float, width: float, height: float, uri: str) -> None:
        """Draw a picture, given as a `data:` URI."""
        self._reach(x + width, y + height)
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
        self.parts.append(f'<image {place} preserveAspectRatio="none" href="{escape(uri)}"/>')

    def frame(self, x: float, y: float, width: float, height: float, stroke: str) -> None:
        """Draw the edges of a box."""
        self._reach(x + width, y + height)
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self.parts.append(f'<rect {place} fill="none" stroke="{stroke}" stroke-width="2"/>')

    def line(
        self, x0: float, y0: float, x1: float, y1: float, stroke: str = INK, width: float = 1, dashes: str = ""
    ) -> None:
        """Draw a straight line."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        path = f"M{x0:.1f},{y0:.1f}L{x1:.1f},{y1:.1f}"
        self.parts.append(f'<path d="{path}" stroke="{stroke}" stroke-width="{width:g}"{dashed}/>')
        self._reach(max(x0, x1), max(y0, y1))

    def polyline(self, points: Iterable[tuple[float, float]], stroke: str, width: float = 1.6) -> None:
        """Draw a line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width:g}"/>')

    def mark(self, x: float, y: float, series: int = 0, fill: str | None = None) -> None:
        """Draw the mark of a series: a disc, a square, a diamond."""
        colour = fill or SERIES[series % len(SERIES)]
        shape = _MARKS[series % len(_MARKS)]
        self.parts.append(f'<path d="{shape}" transform="translate({x:.1f} {y:.1f})" fill="{colour}"/>')

    def svg(self, title: str, about: str = "") -> str:
        """Return the picture; `title` and `about` are read to those who cannot see it."""
        width, height = math.ceil(self.width + 16), math.ceil(self.height + 12)
        said = f"<title>{escape(_clean(title))}</title>" + (f"<desc>{escape(_clean(about))}</desc>" if about else "")
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="{FONT}">\n{said}\n'
            f'<rect width="100%" height="100%" fill="{PAPER}"/>\n' + "\n".join(self.parts) + "\n</svg>\n"
        )


def legend(page: Canvas, x: float, y: float, names: Sequence[str], *, chance: bool = False) -> None:
    """Name the series beside each other: mark and name each; with `chance`, what the dashes are."""
    for n, name in enumerate(names):
        page.mark(x + 5, y - 4, n)
        page.text(x + 14, y, name, size=SMALL, fill=SOFT)
        x += 30 + text_width(name, SMALL)
    if chance:
        page.line(x, y - 4, x + 16, y - 4, CHANCE, 1.5, "3 2")
        page.text(x + 21, y, "chance", size=SMALL, fill=SOFT)


def line_panel(
    page: Canvas,
    x: float,
    y: float,
    size: tuple[float, float],
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    zero: bool = False,
    along: str = "",
) -> None:
    """Draw lines over a common axis.

    Args:
        page: where.
        x: left edge.
        y: top edge, of the title.
        size: width and height of the panel without its title and the numbers below.
        title: what the values are.
        series: name to points (place, value); one without a name needs no legend.
        zero: the value axis holds 0.
        along: what the places are, under the axis.
    """
    page.text(x, y + 12, title, bold=True)
    points = [point for line in series.values() for point in line]
    if not points:
        page.text(x, y + 34, "nothing was logged", fill=SOFT, size=SMALL)
        return
    values = [value for _, value in points] + ([0.0] if zero else [])
    marks = ticks(min(values), max(values))
    digits = next((n for n in range(6, 15) if len({f"{mark:.{n}g}" for mark in marks}) == len(marks)), 15)
    names = [f"{mark:.{digits}g}" for mark in marks]
    left = max(text_width(name, SMALL) for name in names) + 8
    top, (wide, high) = y + 24, size
    across = Scale(min(p[0] for p in points), max(p[0] for p in points), x + left, wide - left)
    up = Scale(marks[0], marks[-1], top + high, -high)
    for mark, name in zip(marks, names, strict=True):
        page.line(x + left, up.at(mark), x + wide, up.at(mark), INK if mark == 0 else GRID)
        page.text(x + left - 6, up.at(mark) + 4, name, anchor="end", size=SMALL, fill=SOFT)
    ends = sorted({across.low, float(math.floor((across.low + across.high) / 2)), across.high})
    for place, anchor in zip(ends, ("start", "middle", "end") if len(ends) == 3 else ("middle",), strict=False):
        shown = f"{place:,.0f}" + (f" {along}" if along and place == ends[-1] else "")
        page.text(across.at(place), top + high + 15, shown, anchor=anchor, size=SMALL, fill=SOFT)
    for n, line in enumerate(series.values()):
        colour = SERIES[n % len(SERIES)]
        page.polyline([(across.at(place), up.at(value)) for place, value in line], colour)
        if len(line) == 1:
            page.mark(across.at(line[0][0]), up.at(line[0][1]), n)
    if any(series):
        room = x + text_width(title) + 24
        legend(page, room, y + 12, list(series))
    page._reach(x + wide, top + high + 18)


@dataclass(frozen=True)
class Point:
    """A value of a row with its interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """A line of a chart: its name, a point of every series, chance of each (or one for all), a note behind it."""

    label: str
    points: Sequence[Point]
    chance: float | Sequence[float] | None = None
    note: str = ""
    colour: str | None = None


def rows_chart(
    page: Canvas,
    y: float,
    title: str,
    rows: Sequence[Row],
    *,
    series: Sequence[str] = (),
    about: str = "",
    span: tuple[float, float] | None = None,
    bars: bool = False,
    zero: bool = True,
    label: float = 0.0,
    width: float = 420,
    x: float = 16,
) -> float:
    """Draw named rows on one scale, as dots or bars, with intervals and chance; return where it ends.

    Args:
        page: where.
        y: top edge, of the title.
        title: what the values are.
        rows: from top to bottom.
        series: names of the points of every row, for the legend.
        about: after the title, in small.
        span: ends of the scale; None takes round numbers around the values, so charts that are to be compared need one.
        bars: bars from 0 instead of dots.
        zero: the scale holds 0.
        label: least width of the names, so that charts below each other begin at one line.
        width: of the scale.
        x: left edge.
    """
    known = [v for row in rows for p in row.points for v in (p.value, p.low, p.high) if v is not None]
    known += [0.0] if zero else []
    marks = ticks(*(span or (min(known, default=0.0), max(known, default=1.0))))
    left = x + max([label, *(text_width(row.label) for row in rows)]) + 10
    scale = Scale(marks[0], marks[-1], left, width)
    page.text(x, y + 13, title, size=14, bold=True)
    if about:
        page.text(x + text_width(title, 14) + 14, y + 13, about, size=SMALL, fill=SOFT)
    some = any(row.chance is not None for row in rows)
    head = y + 34
    if len(series) > 1 or some:
        legend(page, left, head, series if len(series) > 1 else (), chance=some)
        head += 18
    several = max((len(row.points) for row in rows), default=1)
    deep = ROW + 7 * (several - 1)
    bottom = head + 8 + deep * len(rows) + 2
    for mark in marks:
        page.line(scale.at(mark), head + 4, scale.at(mark), bottom, INK if mark == 0 else GRID)
        page.text(scale.at(mark), bottom + 13, f"{mark:g}", anchor="middle", size=10, fill=SOFT)
    common = len({_chances(row) for row in rows}) == 1  # one line of dashes through all rows
    for n, row in enumerate(rows):
        top = head + 8 + n * deep
        _row(page, row, scale, top, deep, bars)
        ends = (head + 4, bottom) if common else (top + 1, top + deep - 1)
        for at in _chances(row) if n == 0 or not common else ():
            page.line(scale.at(at), ends[0], scale.at(at), ends[1], CHANCE, 1.5, "3 2")
    page._reach(left + width, bottom + 18)
    return bottom + 30


def _chances(row: Row) -> tuple[float, ...]:
    """The places of chance of a row, each once."""
    given = row.chance if isinstance(row.chance, Sequence) else () if row.chance is None else (row.chance,)
    return tuple(dict.fromkeys(given))


def _row(page: Canvas, row: Row, scale: Scale, top: float, deep: float, bars: bool) -> None:
    middle = top + deep / 2
    page.text(scale.start - 8, middle + 4, row.label, anchor="end")
    if row.note:
        page.text(scale.start + scale.length + 8, middle + 4, row.note, size=SMALL, fill=SOFT)
    if all(point.value is None for point in row.points):
        page.text(scale.start + 4, middle + 4, "null", size=SMALL, fill=SOFT)
    share = (deep - 6) / max(1, len(row.points))
    for n, point in enumerate(row.points):
        if point.value is None:
            continue
        here = top + 3 + share * (n + 0.5)
        colour = row.colour or SERIES[n % len(SERIES)]
        if bars:
            start, end = sorted((scale.at(0.0), scale.at(point.value)))
            page.rect(start, here - share / 2, end - start, share - (1 if len(row.points) > 1 else 0), colour)
        if point.low is not None and point.high is not None:
            page.line(scale.at(point.low), here, scale.at(point.high), here, INK if bars else colour, 1.6)
        if not bars:
            page.mark(scale.at(point.value), here, n, row.colour)


# -- small charts inside a page of HTML --------------------------------------------------------------------------------


def percent_rect(kind: str, x: float, width: float, y: float = 0, height: float = 100, title: str = "") -> str:
    """Return a box in per cent of its chart; `kind` is the class that the page's style sheet colours."""
    box = f'<rect class="{kind}" x="{x:.2f}%" y="{y:.2f}%" width="{width:.2f}%" height="{height:.2f}%"'
    return f"{box}><title>{escape(title)}</title></rect>" if title else f"{box}/>"


def inline(name: str, label: str, height: int, inside: Sequence[str]) -> str:
    """Return a chart that is as wide as its place in the page; `label` says it in words."""
    head = f'<svg class="{name}" role="img" aria-label="{escape(label)}" width="100%" height="{height}">'
    return f"{head}{''.join(inside)}</svg>"


# -- files -------------------------------------------------------------------------------------------------------------


def save(svg: str, path: str | os.PathLike[str]) -> None:
    """Write a chart as `.svg`, `.png` (twice its size, by resvg) or `.pdf` (text stays text, by typst).

    Raises:
        UserError: another ending, a folder that is not there, or typst is needed and not installed.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending == ".svg":
        data = svg.encode()
    elif ending == ".png":
        import resvg_py

        data = bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=2))
    elif ending == ".pdf":
        data = _pdf(svg)
    else:
        raise UserError(f"a figure is an .svg, .png or .pdf, not '{target.name}'.")
    try:
        target.write_bytes(data)
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror}).") from None


def _pdf(svg: str) -> bytes:
    import tempfile

    typst = require("typst", "panoglot[plots]", "a figure as PDF")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "figure.svg").write_text(svg, encoding="utf-8")
        Path(folder, "page.typ").write_text(
            '#set page(width: auto, height: auto, margin: 0pt)\n#image("figure.svg")\n', encoding="utf-8"
        )
        return bytes(typst.compile(str(Path(folder, "page.typ")), root=folder))
