"""A run as a picture: losses, scale and learning rate over steps, recall of every language."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from panoglot.charts import Canvas, Point, Row, line_panel, rows_chart
from panoglot.languages._tags import language_name

__all__ = ["plot_run"]

#: Points of a line: longer runs are means of so many stretches.
POINTS = 240
_PANEL, _GAP = (400, 170), 44


def plot_run(log: Sequence[Mapping[str, Any]], figures: Mapping[str, Any], title: str) -> str:
    """Return the SVG of a run.

    Args:
        log: figures of every step.
        figures: of `measure`, or empty.
        title: of the picture.
    """
    page = Canvas()
    page.text(16, 24, title, size=16, bold=True)
    below = 40.0
    for n, (name, series, zero) in enumerate(_panels(log)):
        x, below = 16 + (n % 2) * (_PANEL[0] + _GAP), 40 + n // 2 * (_PANEL[1] + 64)
        drawn = {key: line for key, line in series.items() if line}
        line_panel(page, x, below, _PANEL, name, drawn, zero=zero, along="steps")
    languages = figures.get("languages") or {}
    if languages:
        pictures = int(figures["pictures"])
        rows = [_row(tag, found, pictures) for tag, found in languages.items()]
        rows_chart(
            page,
            below + _PANEL[1] + 64,
            f"recall of texts in {pictures:,} held-out pictures",
            rows,
            series=("R@1", "R@5", "R@10"),
            about="lines: 95 % intervals",
            span=(0, 1),
            width=560,
        )
    return page.svg(title, f"{len(log)} steps" + (f"; recall in {len(languages)} languages" if languages else ""))


def _panels(log: Sequence[Mapping[str, Any]]) -> list[tuple[str, dict[str, list[tuple[float, float]]], bool]]:
    """What is drawn over the steps: (name, series, does the axis hold 0)."""
    terms = sorted({key for row in log for key in row if key.startswith("loss/")})
    losses = {key.removeprefix("loss/"): _line(log, key) for key in terms}
    if len(terms) > 1:
        losses["all"] = _line(log, "loss")
    panels = [("loss", losses, False), ("learning rate", {"": _line(log, "lr")}, True)]
    scales = sorted({key for row in log for key in row if key.startswith("scale/")})
    if scales:
        panels.append(("scale", {key.removeprefix("scale/"): _line(log, key) for key in scales}, False))
    return [*panels, ("gradient norm", {"": _line(log, "grad_norm")}, True)]


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


def _row(tag: str, found: Mapping[str, Any], pictures: int) -> Row:
    """Text to picture recall at 1, 5 and 10 of a language, with intervals and chance."""
    cuts = (1, 5, 10)
    points = [Point(*found[f"t2i@{k}"]) for k in cuts]
    return Row(f"{language_name(tag)} ({found['texts']:,})", points, [min(1.0, k / max(1, pictures)) for k in cuts])
