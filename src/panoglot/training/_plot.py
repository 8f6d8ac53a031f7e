"""A run as a picture: losses, scale and learning rate over steps, recall of every language. SVG, no further package."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from panoglot.languages._tags import language_name

__all__ = ["plot_run"]

#: Points of a line: longer runs are means of so many stretches.
POINTS = 240
_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b7791f", "#c53030")
_WIDTH, _PANEL, _LEFT, _RIGHT, _HEIGHT = 860, 410, 56, 12, 180


def plot_run(log: Sequence[Mapping[str, Any]], figures: Mapping[str, Any], title: str) -> str:
    """Return the SVG of a run.

    Args:
        log: figures of every step.
        figures: of `measure`, or empty.
        title: of the picture.
    """
    terms = sorted({key for row in log for key in row if key.startswith("loss/")})
    lines: list[tuple[str, dict[str, list[tuple[float, float]]], bool]] = []
    lines.append(("loss", {key.removeprefix("loss/"): _line(log, key) for key in terms}, False))
    if len(terms) > 1:
        lines[0][1]["all"] = _line(log, "loss")
    lines.append(("learning rate", {"": _line(log, "lr")}, True))
    scales = sorted({key for row in log for key in row if key.startswith("scale/")})
    if scales:
        lines.append(("scale", {key.removeprefix("scale/"): _line(log, key) for key in scales}, False))
    lines.append(("gradient norm", {"": _line(log, "grad_norm")}, True))
    parts: list[str] = []
    for n, (name, series, zero) in enumerate(lines):
        x, y = (n % 2) * (_PANEL + 40), 40 + n // 2 * (_HEIGHT + 56)
        parts += _panel(x, y, name, {k: v for k, v in series.items() if v}, zero)
    below = 40 + -(-len(lines) // 2) * (_HEIGHT + 56)
    languages = figures.get("languages") or {}
    if languages:
        parts += _recall(below, languages, int(figures["pictures"]))
        below += 50 + 18 * len(languages)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {below}" width="{_WIDTH}" height="{below}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="8" y="18" font-size="14" font-weight="bold">{escape(title)}</text>'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def _line(log: Iterable[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """Points (step, value); values that are missing or not finite are left out, many are averaged."""
    points = [
        (float(row["step"]), float(row[key])) for row in log if row.get(key) is not None and math.isfinite(row[key])
    ]
    size = -(-len(points) // POINTS)
    if size <= 1:
        return points
    groups = [points[n : n + size] for n in range(0, len(points), size)]
    return [(sum(p[0] for p in g) / len(g), sum(p[1] for p in g) / len(g)) for g in groups]


def _panel(x: int, y: int, name: str, series: Mapping[str, list[tuple[float, float]]], zero: bool) -> list[str]:
    """Draw lines with axes; the value axis begins at 0 where `zero`."""
    out = [f'<text x="{x + _LEFT}" y="{y - 6}" font-weight="bold">{escape(name)}</text>']
    points = [p for line in series.values() for p in line]
    if not points:
        return [*out, f'<text x="{x + _LEFT}" y="{y + 20}" fill="#777">nothing was logged</text>']
    most = max(p[0] for p in points) or 1.0
    low, high = min(p[1] for p in points), max(p[1] for p in points)
    low = min(0.0, low) if zero else low
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    width = _PANEL - _LEFT - _RIGHT

    def at(step: float, value: float) -> str:
        return f"{x + _LEFT + width * step / most:.1f},{y + _HEIGHT * (high - value) / (high - low):.1f}"

    for k in range(5):
        value = low + (high - low) * k / 4
        height = at(0, value).split(",")[1]
        out.append(f'<path d="M{x + _LEFT},{height}h{width}" stroke="#ddd"/>')
        out.append(f'<text x="{x + _LEFT - 4}" y="{float(height) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for k in range(3):
        place = at(most * k / 2, low).split(",")[0]
        anchor = ("start", "middle", "end")[k]
        out.append(f'<text x="{place}" y="{y + _HEIGHT + 14}" text-anchor="{anchor}">{most * k / 2:,.0f}</text>')
    for n, (label, line) in enumerate(series.items()):
        colour = _COLOURS[n % len(_COLOURS)]
        path = " ".join(at(*p) for p in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(line) == 1:
            cx, cy = at(*line[0]).split(",")
            out.append(f'<circle cx="{cx}" cy="{cy}" r="2.5" fill="{colour}"/>')
        if label:
            where = f'x="{x + _PANEL - _RIGHT - 4}" y="{y + 14 + 14 * n}"'
            out.append(f'<text {where} text-anchor="end" fill="{colour}">{escape(label)}</text>')
    return out


def _recall(y: int, languages: Mapping[str, Any], pictures: int) -> list[str]:
    """Draw text → picture recall at 1, 5 and 10 of every language as dots with intervals, and chance."""
    left, width = 190, _WIDTH - 190 - 30
    out = [
        f'<text x="8" y="{y + 6}" font-weight="bold">recall of texts in {pictures:,} held-out pictures '
        '<tspan font-weight="normal" fill="#777">(● at 1, ■ at 5, ◆ at 10; lines: 95 % intervals; dashes: chance)'
        "</tspan></text>"
    ]
    top, bottom = y + 22, y + 22 + 18 * len(languages)
    for k in range(0, 11, 2):
        x = left + width * k / 10
        out.append(f'<path d="M{x:.1f},{top}V{bottom}" stroke="#ddd"/>')
        out.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{k / 10:g}</text>')
    for n, k in enumerate((1, 5, 10)):
        x = left + width * min(1.0, k / max(1, pictures))
        out.append(f'<path d="M{x:.1f},{top}V{bottom}" stroke="{_COLOURS[n]}" stroke-dasharray="3 3" opacity="0.6"/>')
    for row, (tag, found) in enumerate(languages.items()):
        middle = top + 9 + 18 * row
        name = f"{language_name(tag)} ({found['texts']:,})"
        out.append(f'<text x="{left - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>')
        for n, k in enumerate((1, 5, 10)):
            value, low, high = (left + width * v for v in found[f"t2i@{k}"])
            line, colour = middle + 4 * (n - 1), _COLOURS[n]
            out.append(f'<path d="M{low:.1f},{line}H{high:.1f}" stroke="{colour}" stroke-width="1.5"/>')
            shape = (
                f'<circle cx="{value:.1f}" cy="{line}" r="3"/>',
                f'<rect x="{value - 2.5:.1f}" y="{line - 2.5}" width="5" height="5"/>',
                f'<path d="M{value:.1f},{line - 4}l4,4l-4,4l-4,-4z"/>',
            )[n]
            out.append(f'<g fill="{colour}">{shape}</g>')
    return out
