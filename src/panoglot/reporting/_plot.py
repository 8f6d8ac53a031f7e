"""Small charts as inline SVG: lengths in per cent of whatever width there is, colours from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from panoglot.charts import inline, percent_rect
from panoglot.reporting._counts import EDGES, Tally

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["bar", "histogram", "region", "spark", "strip"]


def _svg(name: str, label: str, height: int, inside: Sequence[str]) -> Markup:
    from markupsafe import Markup

    return Markup(inline(name, label, height, inside))  # the label is escaped; the pieces are numbers and names of ours


def bar(values: Sequence[tuple[str, float]], most: float, label: str) -> Markup:
    """Draw one horizontal stacked bar.

    Args:
        values: (class of the colour, value) from left to right.
        most: the value that fills the width.
        label: says it in words.
    """
    x, parts = 0.0, [percent_rect("track", 0, 100)]
    for kind, value in values:
        width = 100 * value / most if most else 0
        if value:
            parts.append(percent_rect(kind, x, max(width, 0.4)))
        x += width
    return _svg("bar", label, 8, parts)


def _columns(tally: Tally, most: int, columns: int) -> tuple[list[float], int]:
    """Spread the length bins over columns up to `most` characters; what is longer is in the last. -> heights, step."""
    step = max(1, -(-most // columns))
    heights = [0.0] * columns
    for length, rows in tally.lengths.items():
        low, high = EDGES[length], EDGES[length + 1] if length + 1 < len(EDGES) else EDGES[length] + 1
        first, last = low // step, (high - 1) // step
        for column in range(min(first, columns - 1), min(last, columns - 1) + 1):
            share = min(high, (column + 1) * step) - max(low, column * step) if column < columns - 1 else 0
            if column == columns - 1:
                share = high - max(low, column * step)
            heights[column] += rows * share / (high - low)
    return heights, step


def spark(tally: Tally, most: int) -> Markup:
    """Draw how long the kept texts are, without axes, on a common scale of `most` characters."""
    heights, _ = _columns(tally, most, 30)
    top = max(heights, default=0) or 1
    parts = [
        percent_rect("kept", 100 * n / 30, 100 / 30 - 0.7, 100 - max(4.0, 100 * h / top), max(4.0, 100 * h / top))
        for n, h in enumerate(heights)
        if h
    ]
    return _svg("spark", f"lengths: half of the texts have at most {tally.quantile(0.5)} characters", 20, parts)


def histogram(tally: Tally, most: int, columns: int = 48) -> Markup:
    """Draw how many kept texts have which length, with an axis of characters."""
    heights, step = _columns(tally, most, columns)
    top, width = max(heights, default=0) or 1, 100 / columns
    parts = [f'<line class="rule" x1="0" x2="100%" y1="{y}%" y2="{y}%"/>' for y in (4, 43, 82)]
    for n, h in enumerate(heights):
        if h:
            tall = max(0.8, 78 * h / top)
            shown = f"{n * step}+" if n == columns - 1 else f"{n * step}–{(n + 1) * step - 1}" if step > 1 else f"{n}"
            title = f"{shown} characters: {h:,.0f} captions"
            parts.append(percent_rect("kept", n * width, width * 0.82, 82 - tall, tall, title))
    for n in range(0, columns, 8):
        parts.append(f'<text x="{n * width:.2f}%" y="96%">{n * step:,}</text>')
    parts.append(f'<text class="end" x="100%" y="96%">{(columns - 1) * step:,}+</text>')
    parts.append(f'<text class="end" x="100%" y="11%">{top:,.0f}</text>')
    middle, low, high = (tally.quantile(share) for share in (0.5, 0.05, 0.95))
    label = f"Lengths of kept captions: nine in ten have {low} to {high} characters, half at most {middle}."
    return _svg("histogram", label, 190, parts)


def strip(tally: Tally, most: int) -> Markup:
    """Draw the spread of lengths: from the 5th to the 95th per cent, thick between the quartiles, median marked."""
    five, low, middle, high, end = (min(tally.quantile(q) or 0, most) for q in (0.05, 0.25, 0.5, 0.75, 0.95))

    def at(value: float) -> float:
        return 98 * value / most if most else 0.0

    parts = [
        percent_rect("track", 0, 100, 44, 12),
        percent_rect("soft", at(five), max(0.5, at(end) - at(five)), 38, 24),
        percent_rect("kept", at(low), max(0.8, at(high) - at(low)), 22, 56),
        percent_rect("median", at(middle), 0.8, 0, 100),
    ]
    return _svg(
        "strip", f"median {middle}, quartiles {low} to {high}, nine in ten {five} to {end} characters", 14, parts
    )


def region(x0: float, y0: float, x1: float, y1: float) -> Markup:
    """Draw where in the picture a region is."""

    def inside(value: float) -> float:
        return 100 * min(1.0, max(0.0, value)) if value == value else 0.0

    left, top, right, bottom = map(inside, (x0, y0, x1, y1))
    box = percent_rect("kept", left, max(2, right - left), top, max(2, bottom - top))
    label = f"the box from {left:.0f} %, {top:.0f} % to {right:.0f} %, {bottom:.0f} % of width and height"
    return _svg("region", label, 14, [percent_rect("frame", 0, 100), box])
