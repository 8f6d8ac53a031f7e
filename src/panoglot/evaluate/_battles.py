"""Votes of an arena out of a dataset: which of two captions was thought better, by who wrote them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from panoglot.errors import UserError, command
from panoglot.table import open_dataset, sql_in

__all__ = ["read_battles"]


def read_battles(dataset: str, criterion: str = "") -> list[dict[str, Any]]:
    """Return a row for every comparison of two captions by different writers: `model_a`, `model_b`, `winner`.

    Args:
        dataset: its path.
        criterion: which comparisons; may be empty where all are by one.

    Raises:
        UserError: there are none, or they are by several criteria and none was named.
    """
    data = open_dataset(dataset)
    rows = data.ratings.rows(None, "of = 'captions' and against <> ''") if data.ratings.exists() else []
    rows = [row for row in rows if row["against"] and row["value"] is not None]
    found = Counter(row["criterion"] or "" for row in rows)
    if not rows:
        line = command("caption", data.address, "--method", "feedback-pairs", "--captioner", "PROVIDER:NAME")
        raise UserError(f"there are no comparisons of captions in {data.address}: make some by {line}")
    if (criterion and criterion not in found) or (not criterion and len(found) > 1):
        some = ", ".join(f"{name} ({count:,})" for name, count in found.most_common())
        line = command("evaluate", "arena", data.address, "--criterion", found.most_common(1)[0][0])
        raise UserError(f"comparisons are by {some}: choose one: {line}")
    rows = [row for row in rows if not criterion or row["criterion"] == criterion]
    ids = sorted({row[name] for row in rows for name in ("item", "against")})
    wrote: dict[str, str] = {}
    for start in range(0, len(ids), 4096):
        part = sql_in("caption_id", ids[start : start + 4096])
        for own in data.captions.rows(["caption_id", "model", "author", "recipe"], part):
            wrote[own["caption_id"]] = own["model"] or own["author"] or own["recipe"] or "unknown"
    battles = [
        {
            "model_a": one,
            "model_b": other,
            "winner": one if row["value"] > 0.5 else other if row["value"] < 0.5 else "tie",
        }
        for row in rows
        if (one := wrote.get(row["item"])) and (other := wrote.get(row["against"])) and one != other
    ]
    if not battles:
        raise UserError(
            f"all {len(rows):,} comparisons of {data.address} are of captions by one writer: an arena needs two. "
            f"See them one by one: {command('show', data.address, 'PICTURE')}"
        )
    return battles
