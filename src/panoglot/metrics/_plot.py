"""Figures of results as SVG, and as PNG and PDF by resvg: bars with intervals, differences, ratings, rank heat maps.

Labels are drawn as they are, in any script, each in a text element of its own (so right-to-left names stay whole); the
fonts are those of whoever looks at the SVG, or of this machine for a PNG. Long lists flow into columns.
"""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from panoglot.asking._made import made_lines
from panoglot.errors import UserError
from panoglot.languages._tags import language_name, parse_language
from panoglot.metrics._compare import Comparison
from panoglot.metrics._result import MetricResult
from panoglot.metrics._results import ResultSet
from panoglot.metrics.preference.arena import ArenaResult
from panoglot.metrics.preference.standings import Standings

__all__ = ["draw", "metric_title", "plot"]

INK, PALE, GRID, BAR, GOOD, BAD, MARK = "#222", "#777", "#ddd", "#5b8cc0", "#2a8f57", "#c0504d", "#e08214"
FONT = (
    "Noto Sans, Noto Sans Arabic, Noto Sans Hebrew, Noto Sans Devanagari, Noto Sans Thai, Noto Sans CJK SC, "
    "DejaVu Sans, Arial, sans-serif"
)
ROW, TEXT, MOST_ROWS, MOST_TASKS = 18, 12, 50, 60


@dataclass(frozen=True)
class _Row:
    """A line of a chart: what it is called, its value, its interval, a mark (chance), what is written behind it."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    mark: float | None = None
    note: str = ""
    colour: str = BAR


def _wide(text: str, size: float = TEXT) -> float:
    """About how many pixels a text takes."""
    units = 0.0
    for character in text:
        if unicodedata.combining(character):
            continue
        units += 1.0 if unicodedata.east_asian_width(character) in "WF" else 0.58
    return units * size


def _text(
    x: float, y: float, text: str, anchor: str = "start", size: int = TEXT, fill: str = INK, turn: int = 0
) -> str:
    spin = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}"{spin}>'
        f"{escape(_printable(text))}</text>"
    )


def _printable(text: str) -> str:
    """Without what XML does not take and what turns the text after it around."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs") or c in "\u200c\u200d")


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{fill}"/>'


def _line(x0: float, y0: float, x1: float, y1: float, stroke: str = INK, width: float = 1) -> str:
    return f'<path d="M{x0:.1f},{y0:.1f}L{x1:.1f},{y1:.1f}" stroke="{stroke}" stroke-width="{width}"/>'


def _page(parts: Iterable[str], width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that span the values.

    >>> _ticks(0, 0.83), _ticks(-0.021, 0.013)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [-0.03, -0.02, -0.01, 0.0, 0.01, 0.02])
    """
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if span / (step * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


#: A metric as people write it.
_NAMES = {
    "cider": "CIDEr", "cider-d": "CIDEr-D", "rouge-l": "ROUGE-L", "chrf": "chrF", "chrf++": "chrF++", "spice": "SPICE",
    "spice (rules)": "SPICE (rules)", "capture": "CAPTURE", "clipscore": "CLIPScore", "refclipscore": "RefCLIPScore",
    "chair-s": "CHAIR-s", "pope-f1": "POPE F1", "dcscore": "DCScore", "meteor-1.5": "METEOR 1.5", "geneval": "GenEval",
    "meteor-exact-stem-synonym": "METEOR (exact, stem, synonym)", "zeroshot": "Zero-shot accuracy", "dpg": "DPG",
    "babel-imagenet": "Babel-ImageNet accuracy", "clc": "Cross-lingual consistency (CLC)", "commute": "CoMMuTE",
    "css": "Code-switching similarity (CSS)", "finecapeval": "FineCapEval", "caparena-auto": "CapArena-Auto",
    "mmmb": "MMMB accuracy", "mmmb/circular": "MMMB accuracy (circular)", "mteb": "MTEB main score",
    "length": "Length in tokens", "lix": "LIX", "text_to_image": "Text to image", "image_to_text": "Image to text",
    "circo": "CIRCO", "cirr": "CIRR", "subset": "CIRR subset", "merit": "MERIT", "fashion-iq": "FashionIQ",
    "mvl-sib": "MVL-SIB accuracy", "smpqa": "SMPQA", "mrr": "MRR", "r_precision": "R-precision", "rank": "rank",
}  # fmt: skip
_AT = {"recall": "R", "positive_recall": "recall", "map": "mAP", "ndcg": "nDCG", "mrr": "MRR", "precision": "P"}


def metric_title(metric: str) -> str:
    """A metric as people write it.

    >>> [metric_title(name) for name in ("text_to_image/recall@1", "bleu4", "cider-d", "circo/map@5", "mine")]
    ['Text to image R@1', 'BLEU-4', 'CIDEr-D', 'CIRCO mAP@5', 'mine']
    """
    if metric in _NAMES:
        return _NAMES[metric]
    found = []
    for part in metric.split("/"):
        kind, at, k = part.partition("@")
        if at and kind in _AT:
            found.append(f"{_AT[kind]}@{k}")
        elif part.startswith("bleu") and part[4:].isdigit():
            found.append(f"BLEU-{part[4:]}")
        else:
            found.append(_NAMES.get(part, part))
    return " ".join(found)


def _family(metric: str) -> str:
    """What shares a scale: shares of rankings do, whatever their direction and depth."""
    return "shares" if metric.rpartition("/")[2].partition("@")[0] in _AT else metric


def _chart(
    rows: Sequence[_Row],
    title: str,
    top: float,
    *,
    dots: bool,
    zero: bool = True,
    name: float = 0.0,
    like: Sequence[_Row] = (),
) -> tuple[list[str], float, float]:
    """Draw rows under a title from `top` on, in columns where there are many: parts, width, bottom.

    Args:
        rows: lines.
        title: above them.
        top: where to begin.
        dots: points instead of bars.
        zero: the scale holds 0.
        name: least width of the labels, so that charts below each other begin at one line.
        like: rows of other charts that this one shares its scale with.
    """
    known = [v for row in (*rows, *like) for v in (row.value, row.low, row.high) if v is not None]
    ticks = _ticks(
        min([*known, *([0.0] if zero else [])], default=0.0), max([*known, *([0.0] if zero else [])], default=1.0)
    )
    columns = max(1, math.ceil(len(rows) / MOST_ROWS))
    deep = math.ceil(len(rows) / columns)
    name = max([name, *(_wide(row.label) for row in rows)]) + 10
    note = max((_wide(row.note, 11) for row in rows), default=0) + 14
    bar = 360 if columns == 1 else 180
    pitch = name + bar + note
    parts = [_text(16, top + 14, title, size=14)]
    first = top + 40
    bottom = first + deep * ROW + 4
    for column in range(columns):
        left = 16 + column * pitch + name

        def at(value: float, left: float = left) -> float:
            return left + bar * (value - ticks[0]) / ((ticks[-1] - ticks[0]) or 1)

        for tick in ticks:
            parts.append(_line(at(tick), first - 4, at(tick), bottom, INK if tick == 0 else GRID))
            if columns == 1 or tick in (ticks[0], ticks[-1]) or tick == 0:
                parts.append(_text(at(tick), first - 9, f"{tick:g}", "middle", 10, PALE))
        for n, row in enumerate(rows[column * deep : (column + 1) * deep]):
            y = first + n * ROW
            parts.append(_text(left - 8, y + 13, row.label, "end"))
            parts.append(_text(left + bar + 8, y + 13, row.note, size=11, fill=PALE))
            if row.value is None:
                parts.append(_text(left + 4, y + 13, "null", size=11, fill=PALE))
                continue
            if dots:
                parts.append(f'<circle cx="{at(row.value):.1f}" cy="{y + 9:.1f}" r="4" fill="{row.colour}"/>')
            else:
                start = at(max(0.0, ticks[0]))
                parts.append(_rect(min(start, at(row.value)), y + 3, abs(at(row.value) - start), ROW - 6, row.colour))
            if row.low is not None and row.high is not None:
                parts.append(_line(at(row.low), y + 9, at(row.high), y + 9, INK, 1.5))
                parts += [_line(at(end), y + 5, at(end), y + 13, INK, 1.5) for end in (row.low, row.high)]
            if row.mark is not None and ticks[0] <= row.mark <= ticks[-1]:
                parts.append(_line(at(row.mark), y + 1, at(row.mark), y + ROW - 1, MARK, 2))
    return parts, 32 + columns * pitch, bottom + 16


def _short(text: str, most: int = 36) -> str:
    """With the middle left out where it is too long to be a label."""
    return text if len(text) <= most else f"{text[: most - 10]}…{text[-9:]}"


def _label(name: str) -> str:
    """A language with its name."""
    tag = parse_language(name) if name.replace("-", "").isalnum() and len(name) <= 12 else None
    said = language_name(tag) if tag else ""
    return f"{said} · {name}" if said and said not in (name, tag) else _short(name)


def _results(found: ResultSet) -> str:
    """A chart a metric (and direction): one scale for what can be compared."""
    if not found:
        raise UserError("there are no results to draw.")
    blocks: dict[tuple[str, str, str], list[_Row]] = {}
    heads = [name.partition("/")[0] for name in found]
    several = len(set(heads)) > 1 and any("/" in name for name in found)
    lone = len(found) == 1
    for name, result in found.items():
        head, _, rest = name.partition("/")
        label, series = (head, rest) if several and rest else (name, "")
        note = [] if result.value is None else [_number(result.value)]
        note += [f"{result.unscored} of {result.n} unscored"] if result.unscored else [f"n {result.n}"] if lone else []
        low, high = (result.interval.low, result.interval.high) if result.interval else (None, None)
        rows = blocks.setdefault((result.metric, result.version, series), [])
        rows.append(_Row(_label(label), result.value, low, high, result.parts.get("chance"), " · ".join(note)))
        if lone and result.value is not None:
            rows += _parts(result)
    parts: list[str] = []
    width, y = 0.0, 10.0
    for line in made_lines(found.made):
        parts.append(_text(16, y + 12, line.strip(), size=11, fill=PALE))
        width, y = max(width, _wide(line, 11) + 32), y + 16
    name_wide = max(_wide(row.label) for rows in blocks.values() for row in rows)
    levels = {result.interval.level for result in found.values() if result.interval}
    ways = {series for *_, series in blocks}
    for (metric, version, series), rows in blocks.items():
        family = [row for (other, *_), mine in blocks.items() if _family(other) == _family(metric) for row in mine]
        ordered = len(rows) > 12 and not lone
        if ordered:
            rows = sorted(rows, key=lambda row: (row.value is None, -(row.value or 0.0)))
        title = metric_title(metric)
        title += f", {series}" if series and series not in metric.split("/") else ""
        title += f" (version {version})" if sum(one == metric for one, *_ in blocks) > len(ways) else ""
        title += ", largest first" if ordered else ""
        if any(row.low is not None for row in rows):
            title += f", {100 * max(levels):.0f} % intervals"
        if any(row.mark is not None for row in rows):
            title += "; orange: chance"
        more, wide, y = _chart(
            rows, title, y, dots=False, name=0.0 if len(rows) > MOST_ROWS else name_wide, like=family
        )
        parts += more
        width = max(width, wide, _wide(title, 14) + 32)
    for remark in dict.fromkeys([*found.notes, *(note for result in found.values() for note in result.notes)]):
        parts.append(_text(16, y + 10, remark, size=11, fill=PALE))
        width, y = max(width, _wide(remark, 11) + 32), y + 16
    return _page(parts, width, y + 10)


def _parts(result: MetricResult) -> list[_Row]:
    """The parts of a lone result that are on its scale: shares with shares, percentages with percentages."""
    value = result.value or 0.0
    most = 1.0 if value <= 1 else 100.0 if value <= 100 else math.inf
    fits = {name: part for name, part in result.parts.items() if part is not None and part <= most}
    if most > 1:
        fits = {name: part for name, part in fits.items() if part > 1 or part == 0}
    return [_Row(name, part, note=_number(part), colour="#a9c3de") for name, part in fits.items() if name != "chance"]


def _differences(found: Comparison) -> str:
    blocks: dict[str, list[_Row]] = {}
    for row in (*found.rows, *([found.overall] if found.overall else [])):
        clear = row.low is not None and row.high is not None and (row.low > 0 or row.high < 0)
        colour = (GOOD if (row.difference or 0) > 0 else BAD) if clear else PALE
        said = [] if row.difference is None else [f"{row.difference:+.4f}"]
        said += [f"p {row.p:.4f}"] if row.p is not None else []
        said += [f"{row.unscored} unscored"] if row.unscored else []
        blocks.setdefault(row.metric, []).append(
            _Row(_label(row.name), row.difference, row.low, row.high, note=" · ".join(said), colour=colour)
        )
    parts: list[str] = []
    width, y = 460.0, 10.0
    name = max(_wide(row.label) for rows in blocks.values() for row in rows)
    a, b = map(_short, found.names)
    for metric, rows in blocks.items():
        title = f"{metric_title(metric)}: {b} minus {a}, paired bootstrap, {100 * found.level:.0f} % intervals"
        more, wide, y = _chart(rows, title, y, dots=True, name=0.0 if len(rows) > MOST_ROWS else name)
        parts += more
        width = max(width, wide, _wide(title, 14) + 32)
    parts.append(
        _text(16, y + 8, f"green: {b} is better; red: {a} is better; grey: the interval holds 0", size=11, fill=PALE)
    )
    return _page(parts, width, y + 26)


def _shade(share: float) -> str:
    """From red over white to blue; 0.5 is white."""
    strong = min(1.0, 2 * abs(share - 0.5))
    end = (63, 114, 175) if share >= 0.5 else (192, 80, 77)
    return "#" + "".join(f"{round(255 + (e - 255) * strong):02x}" for e in end)


def _grid(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[tuple[str, str] | None]],
    top: float,
    left: float = 16,
) -> tuple[list[str], float, float]:
    """Draw coloured cells (text, colour) with names on the left and, turned, above: parts, right edge, bottom."""
    side = 26
    name = max(map(_wide, rows), default=0) + 10
    head = max(map(_wide, columns), default=0) + 12
    parts = []
    for n, column in enumerate(columns):
        x = left + name + n * side + side / 2 + 4
        parts.append(_text(x, top + head - 6, column, turn=-90))
    for m, row in enumerate(rows):
        y = top + head + m * side
        parts.append(_text(left + name - 8, y + 17, row, "end"))
        for n, cell in enumerate(cells[m]):
            x = left + name + n * side
            text, colour = cell or ("", "#f2f2f2")
            parts.append(_rect(x, y, side - 1, side - 1, colour))
            if text:
                dark = sum(int(colour[k : k + 2], 16) for k in (1, 3, 5)) < 430
                parts.append(_text(x + side / 2 - 0.5, y + 17, text, "middle", 10, "white" if dark else INK))
    return parts, left + name + len(columns) * side, top + head + len(rows) * side


def _arena(found: ArenaResult) -> str:
    rows = []
    for model in found.ranking:
        low, high = found.intervals.get(model, (None, None))
        rows.append(_Row(_short(model), found.ratings[model], low, high, note=f"{found.ratings[model]:.1f}"))
    level = f", {100 * float(found.options.get('level', 0.95)):.0f} % intervals" if found.intervals else ""
    parts, width, y = _chart(rows, f"{found.rating}, {found.n} votes{level}", 10, dots=True, zero=False)
    cells: list[list[tuple[str, str] | None]] = []
    for one in found.ranking:
        line: list[tuple[str, str] | None] = []
        for other in found.ranking:
            won, lost, tied = found.pairs.get(one, {}).get(other, (0, 0, 0))
            games = won + lost + tied
            share = (won + tied / 2) / games if games else 0.0
            line.append((f"{100 * share:.0f}", _shade(share)) if games else None)
        cells.append(line)
    parts.append(_text(16, y + 16, "won by the row against the column, % (ties half)", size=14))
    more, right, bottom = _grid(
        [_short(m) for m in found.ranking], [_short(m, 24) for m in found.ranking], cells, y + 22
    )
    parts += more
    for note in found.notes:
        bottom += 16
        parts.append(_text(16, bottom, note, size=11, fill=PALE))
        right = max(right, _wide(note, 11) + 32)
    return _page(parts, max(width, right + 16), bottom + 14)


def _ranks(found: Standings) -> str:
    from panoglot.metrics.preference.agreement import average_ranks

    models = [row.model for row in found.rows]
    labels = [f"{row.rank}. {_short(row.model)}" for row in found.rows]
    place: dict[str, dict[str, float]] = {}
    for task, scores in found.scores.items():
        have = {model: -value for model, value in scores.items() if value is not None and not math.isnan(value)}
        place[task] = dict(zip(have, average_ranks(list(have.values())).tolist() if have else []))
    parts = [_text(16, 26, f"rank of each model among {len(models)}, by task; 1 is best", size=14)]
    width, y = _wide(labels[0]) + 320, 36.0
    tasks = list(found.tasks)
    count = max(1, math.ceil(len(tasks) / MOST_TASKS))
    size = math.ceil(len(tasks) / count)
    for at in range(0, len(tasks), size):
        some = tasks[at : at + size]
        cells: list[list[tuple[str, str] | None]] = []
        for model in models:
            ranks = [place[task].get(model) for task in some]
            cells.append(
                [
                    None if rank is None else (f"{rank:g}", _shade(1 - (rank - 1) / max(1, len(models) - 1)))
                    for rank in ranks
                ]
            )
        more, right, y = _grid(
            labels, [_label(task) if len(some) <= 20 else _short(task, 24) for task in some], cells, y
        )
        parts += more
        width, y = max(width, right + 16), y + 14
    return _page(parts, width, y + 6)


def draw(result: Any) -> str:
    """A figure of a result as SVG.

    Raises:
        UserError: nothing to draw.
    """
    if isinstance(result, MetricResult):
        result = ResultSet({result.language or result.metric: result})
    if isinstance(result, ResultSet):
        return _results(result)
    if isinstance(result, Comparison):
        return _differences(result)
    if isinstance(result, ArenaResult):
        return _arena(result)
    if isinstance(result, Standings):
        return _ranks(result)
    raise UserError(f"there is no figure of a {type(result).__name__}.")


def _drawn_as(ending: str, svg: str) -> bytes:
    """PNG or PDF of an SVG."""
    import io

    import PIL.Image
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=4 if ending == ".pdf" else 2))
    if ending == ".png":
        return png
    page = io.BytesIO()
    PIL.Image.open(io.BytesIO(png)).convert("RGB").save(page, "PDF", resolution=288)
    return page.getvalue()


def plot(result: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure of a result: bars, differences, ratings with wins, or a rank heat map.

    Args:
        result: what a command or metric returned.
        path: ends in `.svg`, `.png` or `.pdf` (a picture of 288 dots an inch).

    Raises:
        UserError: another ending, or a folder that is not there.

    >>> from panoglot.metrics._result import mean_result
    >>> "</svg>" in draw(mean_result("length", [3, 4], version="1", language="de"))
    True
    """
    target = Path(path)
    if target.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise UserError(f"a figure is an .svg, a .png or a .pdf, not '{target.name}'.")
    drawn = draw(result)
    try:
        if target.suffix.lower() == ".svg":
            target.write_text(drawn, encoding="utf-8")
        else:
            target.write_bytes(_drawn_as(target.suffix.lower(), drawn))
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror}).") from None
