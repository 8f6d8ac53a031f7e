"""Correcting captions, and forgetting pictures: `panoglot edit` and `panoglot forget`. Both leave a row in `edits`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from panoglot.errors import UserError, command, did_you_mean, verb
from panoglot.identity import normal_text
from panoglot.languages import UNKNOWN_LANGUAGE, canonical_language, matches
from panoglot.retrieval._indexing import telling
from panoglot.table import (
    FORGOTTEN,
    NO_FACT,
    Caption,
    Dataset,
    caption_to_row,
    edit_row,
    erase,
    find_image,
    forget_images,
    given_caption_id,
    open_dataset,
    sql_in,
    take_back,
)

__all__ = ["CORRECTED", "Edited", "Forgotten", "edit", "forget"]

#: Why a caption that somebody corrected is dropped.
CORRECTED = "corrected"
_LONGEST = 100_000


@dataclass(frozen=True)
class Edited:
    """What an edit did.

    Attributes:
        image_id: the picture.
        caption_id: the caption that is kept now, or empty.
        replaced: the caption that is dropped now, or empty.
        text: the text that is kept.
        lang: its language.
        edit_id: its row in `edits`, which `undo` takes; empty when nothing had to be done.
    """

    image_id: str
    caption_id: str
    replaced: str
    text: str
    lang: str
    edit_id: str = ""


@dataclass(frozen=True)
class Forgotten:
    """What was forgotten.

    Attributes:
        images: how many pictures.
        captions: how many captions went with them.
        erased: nothing of them is left on the disk; else somebody was writing or reading, and `forget` without images
            erases it later.
        undone: how many marks were taken away.
        dry_run: nothing was done: this is what would go.
    """

    images: int
    captions: int
    erased: bool
    undone: int = 0
    dry_run: bool = False


@verb
def edit(
    dataset: Dataset | str | os.PathLike[str],
    image: str,
    *,
    text: str | None = None,
    lang: str | None = None,
    caption: str | None = None,
    drop: str | None = None,
    add: bool = False,
    author: str = "",
) -> Edited:
    """Correct a caption of a picture, add one, or drop one.

    The new text is a row of its own, by a person; the caption that it corrects is its parent and is dropped with the
    reason `corrected`. Nothing is lost: `panoglot show` has both.

    Args:
        dataset: a dataset, or its path.
        image: the picture: its id, the beginning of it, its uri or the name of its file.
        text: the text that is right.
        lang: its language; without it that of the caption that is corrected.
        caption: the caption that is corrected or dropped: its id, or the beginning of it; without it the most telling
            kept one of the language, if there is one.
        drop: drop the caption for this reason instead of correcting it (`wrong`, `rude` …).
        add: put the text beside the captions of its language that are there, instead of correcting one.
        author: who says so.

    Raises:
        UserError: no such picture or caption, an empty text, both a text and a drop, `add` with a caption or a drop.
    """
    data = open_dataset(dataset)
    key = find_image(data, image)
    if (text is None) == (drop is None):
        raise UserError(
            f"give the right text, or a reason to drop: {command('edit', data.address, image, '--text', '…')}"
        )
    if add and (caption is not None or drop is not None):
        raise UserError("add goes with a text alone: it corrects and drops no caption.")
    said = normal_text(str(text or "")).strip()
    if drop is None and (not said or len(said) > _LONGEST):
        raise UserError("the text is empty." if not said else f"the text has {len(said):,} characters.")
    old = None if add else _caption(data, key, caption, lang)
    if drop is not None:
        if old is None:
            raise UserError(f"{image} has no such caption to drop.")
        reason = _drop_reason(drop)
        _dropped(data, old.caption_id, reason)
        done = _note(data, old.caption_id, "drop", old.text, reason, author)
        return Edited(key, "", old.caption_id, old.text, old.lang, done)
    tag = canonical_language(lang) if lang is not None else old.lang if old is not None else UNKNOWN_LANGUAGE
    fresh = given_caption_id(key, "human", tag, None, said)
    same = [c for c in data.captions_of([key])[key] if c.caption_id == fresh]
    if same and (old is None or old.caption_id == fresh):
        return Edited(key, fresh, "", said, tag)
    row = Caption(
        said, tag, "human", parents=[old.caption_id] if old is not None else (), recipe="human", image_id=key,
        caption_id=fresh, author=author,
    )  # fmt: skip
    with data.writer():
        data.captions.insert([caption_to_row(row)])
        data.captions.change([{"caption_id": fresh, "dropped": None}])  # corrected away once, and right again
    if old is not None and old.caption_id != fresh and old.dropped is None:  # a reason that it has stays
        _dropped(data, old.caption_id, CORRECTED)
    done = _note(
        data, fresh, "correct" if old is not None else "add", old.text if old is not None else "", said, author
    )
    return Edited(key, fresh, old.caption_id if old is not None and old.caption_id != fresh else "", said, tag, done)


def _drop_reason(given: str) -> str:
    """A reason to drop as it is stored.

    Raises:
        UserError: none.
    """
    reason = "_".join(given.lower().split())
    if not reason.replace("_", "").isalnum():
        raise UserError(f"drop='{given}': give a reason in a word or two, for example wrong_animal.")
    return reason


def _caption(data: Dataset, image: str, wanted: str | None, lang: str | None) -> Caption | None:
    """The caption that is meant."""
    mine = data.captions_of([image], None)[image]
    if wanted is not None:
        fit = [one for one in mine if wanted and one.caption_id.startswith(wanted.lower())]
        if len(fit) != 1:
            known = [one.caption_id for one in mine]
            what = "fits several captions" if fit else "is no caption"
            raise UserError(f"'{wanted}' {what} of this picture.{did_you_mean(wanted, known) if not fit else ''}")
        return fit[0]
    kept = [one for one in mine if one.dropped is None and one.kind != "fact"]
    if lang is not None:
        tag = canonical_language(lang)
        exact = [one for one in kept if one.lang == tag]
        kept = exact or [one for one in kept if matches(tag, one.lang)]
    elif len({one.lang for one in kept}) > 1:
        raise UserError("this picture has captions in several languages: say which one with lang, or caption.")
    if not kept:
        return None
    rows = [{"kind": c.kind, "lang": c.lang, "caption_id": c.caption_id} for c in kept]
    best = telling(rows)["caption_id"]
    return next(one for one in kept if one.caption_id == best)


def _dropped(data: Dataset, caption: str, reason: str) -> None:
    """Drop a caption, and take it out of the vectors."""
    with data.writer():
        data.captions.change([{"caption_id": caption, "dropped": reason}])
        for name in data.vector_names():
            data.vectors(name).delete(f"{sql_in('id', [caption])} and of = 'caption'")


def _note(data: Dataset, item: str, action: str, before: str, after: str, author: str) -> str:
    """Leave a row in `edits` and return its id."""
    row = edit_row(item, action, before, after, author)
    data.edits.insert([row])
    return str(row["edit_id"])


@verb
def forget(
    dataset: Dataset | str | os.PathLike[str],
    *images: str,
    author: str = "",
    undo: bool = False,
    dry_run: bool = False,
) -> Forgotten:
    """Forget pictures: their bytes, captions, vectors, facts, hashes; they are in no search, export or report.

    What remains is a mark `forgotten` under the picture's id, so that a later build does not take it in again, and a
    row in `edits`. Crops and frames that were made of them go too, and documents that show them. Older versions of the
    tables are erased, so nobody can go back to them. Without images it erases what could not be erased before, because
    somebody wrote or read, and says whether anything is left. What was exported, copied or backed up before is not here
    and is not reached.

    Args:
        dataset: a dataset, or its path.
        images: ids, beginnings of them, uris, or names of files.
        author: who wants it.
        undo: take the marks of these away (ids, or beginnings of them): a later build that finds them reads them again,
            and does again what it did with them.
        dry_run: only say what would go.

    Raises:
        UserError: no such picture, or none given and none was ever forgotten.
    """
    data = open_dataset(dataset)
    if undo:
        return _undo(data, images)
    if not images:
        if not data.marks.count(f"dropped = '{FORGOTTEN}'"):
            raise UserError(f"say which pictures: {command('forget', data.address, 'IMAGE')}")
        return Forgotten(0, 0, not dry_run and erase(data))
    try:
        ids = list(dict.fromkeys(find_image(data, one) for one in images))
    except UserError as error:
        raise UserError(f"{'' if dry_run else _left_by_a_stop(data)}{error}") from None
    if dry_run:
        parts = (sql_in("image_id", ids[at : at + 500]) for at in range(0, len(ids), 500))
        captions = sum(data.captions.count(f"{part} and {NO_FACT}") for part in parts)
        return Forgotten(len(ids), captions, False, dry_run=True)
    return Forgotten(*forget_images(data, ids, author), erase(data))


def _left_by_a_stop(data: Dataset) -> str:
    """Erase what a stopped call left, and say so: the names of its pictures went before their bytes."""
    if not data.marks.count(f"dropped = '{FORGOTTEN}'"):
        return ""
    if erase(data):
        return "what was forgotten before is erased, nothing of it is left; "
    return f"what was forgotten before is not erased yet ({command('forget', data.address)}); "


def _undo(data: Dataset, images: Sequence[str]) -> Forgotten:
    """Take marks away; what was made of a picture comes back with it."""
    marked = data.marks.read(["image_id"], f"dropped = '{FORGOTTEN}'")["image_id"].to_pylist()
    chosen: list[str] = []
    for one in images:
        fit = [key for key in marked if one and key.startswith(one.lower())]
        if len(fit) != 1:
            what = "fits several pictures that were" if fit else "is the id of no picture that was"
            raise UserError(f"'{one}' {what} forgotten.{did_you_mean(one, marked) if not fit else ''}")
        chosen += fit
    if not chosen:
        raise UserError(f"say which pictures, by their ids: {command('forget', data.address, '--undo', 'ID')}")
    return Forgotten(0, 0, True, take_back(data, chosen))
