"""Hits as a notebook shows them: small pictures with their texts. Every text from the dataset is shown as text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from panoglot.errors import RowError, UserError

if TYPE_CHECKING:
    from panoglot.retrieval._hits import Hit

__all__ = ["page_of_hits"]

#: Pictures that are shown, and texts of each.
MOST_HITS, MOST_TEXTS = 50, 4
_CELL = "display:inline-block;vertical-align:top;width:180px;margin:0 12px 12px 0;font:13px sans-serif"


def page_of_hits(hits: Sequence[Hit]) -> str:
    """Return HTML with a cell for each of the first hits."""
    lang = getattr(hits, "lang", "und")
    cells = [_cell(hit, lang) for hit in hits[:MOST_HITS]]
    if len(hits) > MOST_HITS:
        cells.append(f"<p>and {len(hits) - MOST_HITS:,} more</p>")
    return f"<div>{''.join(cells)}</div>" if cells else "<p>Nothing found.</p>"


def _cell(hit: Hit, lang: str) -> str:
    name = hit.name
    try:
        data = base64.b64encode(hit.picture().small(180)).decode()
        picture = f'<img src="data:image/png;base64,{data}" alt="{escape(name)}">'
    except (RowError, UserError) as error:
        picture = f"<i>{escape(str(error))}</i>"
    said = hit.told(lang)[:MOST_TEXTS]
    texts = "".join(f'<div dir="auto">{escape(c.text[:200])} <i>{escape(c.lang)}</i></div>' for c in said)
    return f'<div style="{_CELL}">{picture}<div><b>{hit.score:.3f}</b> {escape(name)}</div>{texts}</div>'
