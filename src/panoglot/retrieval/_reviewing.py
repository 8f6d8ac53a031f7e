"""What a person decides on captions: keep, reject, which is best; and taking a decision back.

Every decision is a row in `ratings` (what was thought) and one in `edits` (what was done); no text ever changes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from panoglot.errors import UserError
from panoglot.identity import hash_parts
from panoglot.retrieval._editing import CORRECTED, Edited, _drop_reason, _dropped, _note
from panoglot.table import Caption, Dataset, Rating, caption_from_row, open_dataset, plain_rows, sql_in

__all__ = ["APPROVED", "BEST", "UNDONE", "judge", "undo", "vote"]

#: What ratings of people are about: whether a caption may stay, and which of several is best.
APPROVED, BEST = "approved", "best"
#: Why a text is dropped whose writing was taken back.
UNDONE = "undone"


def judge(
    dataset: Dataset | str | os.PathLike[str], caption: str, *, keep: bool, reason: str = "wrong", author: str = ""
) -> Edited:
    """Say of a caption that it is right, or that it is not.

    What is right is kept, also if a filter had dropped it. What is not is dropped; a reason that it has stays.

    Args:
        dataset: a dataset, or its path.
        caption: id of a caption.
        keep: whether it is right.
        reason: why not, in a word or two.
        author: who says so.

    Raises:
        UserError: no such caption, a reason that is none.
    """
    data = open_dataset(dataset)
    row = _row(data, caption)
    why = None if keep else row.dropped or _drop_reason(reason)
    _state(data, row, why)
    rating = Rating(caption, float(keep), scale="0..1", criterion=APPROVED, rater=author, lang=row.lang)
    rating.rating_id = _rating_id(caption, author)
    data.ratings.upsert([rating.plain()])
    done = _note(data, caption, "approve" if keep else "reject", row.dropped or "", why or "", author)
    return Edited(row.image_id, caption if keep else "", "" if keep else caption, row.text, row.lang, done)


def undo(dataset: Dataset | str | os.PathLike[str], edit_id: str, *, author: str = "") -> Edited:
    """Take back a decision or a correction: the captions are as they were, and both rows stay in `edits`.

    Args:
        dataset: a dataset, or its path.
        edit_id: of `Edited`.
        author: who takes it back.

    Raises:
        UserError: no such edit, one that cannot be taken back or was already, or the caption has changed since.
    """
    data = open_dataset(dataset)
    found = data.edits.rows(["item", "action", "before", "after", "author"], sql_in("edit_id", [edit_id]))
    if not found or found[0]["action"] not in ("approve", "reject", "drop", "correct", "add"):
        raise UserError("there is no such edit that could be taken back.")
    if data.edits.count(f"action = 'undo' and {sql_in('before', [edit_id])}"):
        raise UserError("this was taken back already.")
    one, row = found[0], _row(data, found[0]["item"])
    action, wrote = one["action"], one["action"] in ("correct", "add")
    if (row.dropped or "") != ("" if wrote else one["after"]):
        raise UserError("the caption was changed by somebody since; look at it again.")
    if wrote:
        old = [_row(data, parent if isinstance(parent, str) else parent.caption_id) for parent in row.parents]
        for parent in old:
            if parent.dropped == CORRECTED:
                _state(data, parent, None)
        _state(data, row, UNDONE)
    else:
        _state(data, row, None if action == "drop" else one["before"] or None)
        if action != "drop":
            data.ratings.delete(sql_in("rating_id", [_rating_id(row.caption_id, one["author"] or "")]))
    done = _note(data, row.caption_id, "undo", edit_id, "", author)
    return Edited(row.image_id, row.caption_id, "", row.text, row.lang, done)


def vote(
    dataset: Dataset | str | os.PathLike[str], captions: Sequence[str], best: str | None, *, author: str = ""
) -> int:
    """Say which of several captions of a picture is best: a rating against each other one.

    Args:
        dataset: a dataset, or its path.
        captions: ids of captions of one picture, at least two.
        best: the best one; None: no difference.
        author: who says so.

    Returns:
        How many ratings were written.

    Raises:
        UserError: no such caption, captions of several pictures, fewer than two.
    """
    data = open_dataset(dataset)
    rows = [_row(data, one) for one in dict.fromkeys(captions)]
    if len(rows) < 2 or len({row.image_id for row in rows}) > 1 or (best is not None and best not in captions):
        raise UserError("give two or more captions of one picture, and which of them is best.")
    pairs = [
        (a, b, 1.0 if best is not None else 0.5)
        for n, a in enumerate(rows)
        for b in rows[n + 1 :]
        if best is None or best in (a.caption_id, b.caption_id)
    ]
    made = []
    for a, b, value in pairs:
        first, second = (b, a) if best == b.caption_id else (a, b)
        rating = Rating(
            first.caption_id, value, against=second.caption_id, scale="preference", criterion=BEST, rater=author,
            lang=first.lang,
        )  # fmt: skip
        # one pair and rater is one rating, whichever came first
        rating.rating_id = hash_parts("rating", BEST, *sorted((a.caption_id, b.caption_id)), author)
        made.append(rating.plain())
    data.ratings.upsert(made)
    return len(made)


def _rating_id(caption: str, author: str) -> str:
    return hash_parts("rating", APPROVED, caption, author)


def _row(data: Dataset, caption: str) -> Caption:
    rows: list[dict[str, Any]] = plain_rows(data.captions.get([caption])) if caption else []
    if not rows:
        raise UserError(f"there is no caption '{caption[:64]}'.")
    return caption_from_row(rows[0])


def _state(data: Dataset, row: Caption, reason: str | None) -> None:
    """Keep or drop a caption."""
    if row.dropped == reason:
        return
    if reason is not None:
        _dropped(data, row.caption_id, reason)
    else:
        with data.writer():
            data.captions.change([{"caption_id": row.caption_id, "dropped": None}])
