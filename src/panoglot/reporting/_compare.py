"""The page of methods side by side on the same pictures; see `panoglot caption --compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from panoglot.pictures import load_pictures
from panoglot.providers._secrets import redact
from panoglot.reporting._page import environment, policy_of, template
from panoglot.reporting._text import direction, number, score_name, seconds_text
from panoglot.running._progress import price_text
from panoglot.running._results import MUCH
from panoglot.table import Caption, Dataset, Fact

__all__ = ["Column", "comparison_page", "scored"]

SIDE = 380


@dataclass
class Column:
    """A method of the page.

    Attributes:
        name: as it stands at its column.
        texts: image id to captions: kept, dropped and drafts.
        facts: image id to facts.
        problems: image id to why it failed.
        not_asked: ids of the images that `max_cost` left out.
        seconds: wall seconds for 1,000 pictures; None when the journal gave answers.
        price: US dollars for 1,000 pictures, with what the journal's answers cost before; None when it is not known.
        asked: questions that models answered.
        recalled: questions that the journal answered.
        fell_back: share of its steps where something simpler stood in; None where the method does not count them.
        fell_where: at which steps, how often, and by which reason answers fell: "fuser 3; copied 2".
        models: role to the model that it asks.
        options: what it was given beside.
        scores: metric to (value, lower bound, upper bound); None where it could not be scored.
    """

    name: str
    texts: dict[str, list[Caption]] = field(default_factory=dict)
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    not_asked: list[str] = field(default_factory=list)
    seconds: float | None = None
    price: float | None = 0.0
    asked: int = 0
    recalled: int = 0
    fell_back: float | None = None
    fell_where: str = ""
    models: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    scores: dict[str, tuple[float | None, float | None, float | None]] = field(default_factory=dict)

    @property
    def kept(self) -> list[Caption]:
        """Captions that would be kept; what was only measured (kind `fact`) is none."""
        return [one for some in self.texts.values() for one in some if one.dropped is None and one.kind != "fact"]

    @property
    def dropped(self) -> list[Caption]:
        """Captions that would be dropped, without drafts."""
        return [one for some in self.texts.values() for one in some if one.dropped not in (None, "draft")]


def comparison_page(
    dataset: Dataset,
    images: Sequence[str],
    columns: Sequence[Column],
    metrics: Mapping[str, tuple[str, int]],
    notes: Sequence[str],
) -> str:
    """Make the page; nothing is asked of the network when it is opened.

    Args:
        dataset: where the pictures are.
        images: ids, in order.
        columns: the methods.
        metrics: metric to (what it is, 1 where higher is better, -1 where lower is, 0 where neither).
        notes: what a reader must know, a line each.
    """
    from markupsafe import Markup

    from panoglot._version import __version__

    pictures = load_pictures(dataset, images, SIDE)
    style = template("report.css") + template("compare.css")
    page = environment().get_template("compare.html.j2")
    return page.render(
        dataset=dataset.name,
        methods=columns,
        pictures=images,
        figures=[*_counts(columns), *(scored(name, *about, columns) for name, about in metrics.items())],
        rows=[{"picture": pictures[key], "cells": [_cell(one, key) for one in columns]} for key in images],
        notes=notes,
        style=Markup(style),
        policy=policy_of(style),
        version=__version__,
    )


def _row(name: str, about: str, cells: Sequence[tuple[str, str, bool, bool]]) -> dict[str, Any]:
    keys = ("text", "more", "best", "bad")
    return {"name": name, "about": about, "cells": [dict(zip(keys, cell, strict=True)) for cell in cells]}


def _counts(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """What was written, what failed, price and time."""
    rows = [
        _row("models", "", [(_listed(one.models), "", False, False) for one in columns]),
        _row("options", "", [(_listed(one.options), "", False, False) for one in columns]),
        _row(
            "captions kept", "", [(number(len(one.kept)), "", False, not one.kept and not one.facts) for one in columns]
        ),
        _row("dropped", "", [(number(len(one.dropped)), "", False, bool(one.dropped)) for one in columns]),
        _row("pictures failed", "", [(number(len(one.problems)), "", False, bool(one.problems)) for one in columns]),
        _row("pictures not asked", "--max-cost was reached", [_left(one) for one in columns]),
        _row("fell back", "share of steps where something simpler stood in", [_fell(one) for one in columns]),
        _row("questions asked", "+ answered by the journal", [_asked(one) for one in columns]),
        _row("price", "of 1,000 pictures", [(_price(one), "", False, False) for one in columns]),
        _row(
            "time",
            "of 1,000 pictures, as it was here, start-up and all",
            [(_time(one.seconds), "", False, False) for one in columns],
        ),
    ]
    idle = {"fell back": not any(one.fell_back for one in columns)}
    idle["pictures not asked"] = not any(one.not_asked for one in columns)
    idle |= {name: not any(getattr(one, name) for one in columns) for name in ("models", "options")}
    return [row for row in rows if not idle.get(row["name"])]


def _listed(named: Mapping[str, str]) -> str:
    return redact("; ".join(f"{name}: {value[:200]}" for name, value in named.items())) or "–"


def _left(one: Column) -> tuple[str, str, bool, bool]:
    return number(len(one.not_asked)), "", False, bool(one.not_asked)


def _fell(one: Column) -> tuple[str, str, bool, bool]:
    share = one.fell_back
    return ("–" if share is None else f"{share:.0%}"), one.fell_where, False, share is not None and share > MUCH


def _asked(one: Column) -> tuple[str, str, bool, bool]:
    return number(one.asked), f"+ {number(one.recalled)}" if one.recalled else "", False, False


def _price(one: Column) -> str:
    return price_text(one.price)


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else seconds_text(seconds)


def scored(name: str, about: str, sign: int, columns: Sequence[Column]) -> dict[str, Any]:
    """A row of the table: a score of every column; the best is marked where another is worse (`sign`: 1 is up)."""
    found = [one.scores.get(name, (None, None, None)) for one in columns]
    values = [value for value, _, _ in found if value is not None]
    # nobody is best alone, or where all are the same
    best = max(sign * value for value in values) if sign and len(set(values)) > 1 else None
    cells = [
        (
            "–" if value is None else f"{value:.3g}",
            "" if low is None or high is None else f"{low:.3g} to {high:.3g}",
            best is not None and value is not None and sign * value == best,
            False,
        )
        for value, low, high in found
    ]
    return _row(name, about, cells)


def _cell(column: Column, key: str) -> dict[str, Any]:
    texts = column.texts.get(key, [])
    facts: dict[str, list[str]] = {}
    for fact in column.facts.get(key, []):
        facts.setdefault(fact.kind, []).append(fact.text)
    return {
        "name": column.name,
        "kept": [_line(one) for one in texts if one.dropped is None],
        "dropped": [_line(one) for one in texts if one.dropped not in (None, "draft")],
        "drafts": [_line(one) for one in texts if one.dropped == "draft"],
        "facts": [(kind, ", ".join(values)) for kind, values in facts.items()],
        "problem": "not asked: --max-cost was reached" if key in column.not_asked else column.problems.get(key, ""),
    }


def _line(caption: Caption) -> dict[str, Any]:
    return {
        "text": caption.text,
        "lang": caption.lang,
        "dir": direction(caption.lang),
        "kind": "measured" if caption.kind == "fact" else caption.kind,
        # what did not happen, and how sure the language is, tell nothing of a text beside others
        "scores": sorted(
            (score_name(name), value) for name, value in caption.scores.items() if value and name != "lid"
        )[:6],
        "reason": caption.dropped or "",
        "by": caption.model,
    }
