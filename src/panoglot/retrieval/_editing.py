"""Correcting captions, and forgetting pictures: `panoglot edit` and `panoglot forget`. Both leave a row in `edits`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from panoglot.errors import UserError, command, did_you_mean, verb
from panoglot.identity import hash_parts, normal_text
from panoglot.languages import UNKNOWN_LANGUAGE, canonical_language, matches
from panoglot.retrieval._indexing import telling
from panoglot.table import Caption, Dataset, caption_to_row, find_image, given_caption_id, open_dataset, sql_in

__all__ = ["CORRECTED", "FORGOTTEN", "Edited", "Forgotten", "edit", "forget"]

#: Why a caption that somebody corrected is dropped, and a picture that somebody had forgotten.
CORRECTED, FORGOTTEN = "corrected", "forgotten"
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
    """

    image_id: str
    caption_id: str
    replaced: str
    text: str
    lang: str


@dataclass(frozen=True)
class Forgotten:
    """What was forgotten.

    Attributes:
        images: how many pictures.
        captions: how many captions went with them.
        erased: their bytes are gone from the disk; else somebody was writing, and the same command erases them later.
    """

    images: int
    captions: int
    erased: bool


@verb
def edit(
    dataset: Dataset | str | os.PathLike[str],
    image: str,
    *,
    text: str | None = None,
    lang: str | None = None,
    caption: str | None = None,
    drop: str | None = None,
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
        author: who says so.

    Raises:
        UserError: no such picture or caption, an empty text, both a text and a drop.
    """
    data = open_dataset(dataset)
    key = find_image(data, image)
    if (text is None) == (drop is None):
        raise UserError(
            f"give the right text, or a reason to drop: {command('edit', data.address, image, '--text', '…')}"
        )
    old = _caption(data, key, caption, lang)
    if drop is not None:
        if old is None:
            raise UserError(f"{image} has no such caption to drop.")
        reason = "_".join(drop.lower().split())
        if not reason.replace("_", "").isalnum():
            raise UserError(f"drop='{drop}': give a reason in a word or two, for example wrong_animal.")
        _dropped(data, old.caption_id, reason)
        _note(data, old.caption_id, "drop", old.text, reason, author)
        return Edited(key, "", old.caption_id, old.text, old.lang)
    said = normal_text(str(text)).strip()
    if not said or len(said) > _LONGEST:
        raise UserError("the text is empty." if not said else f"the text has {len(said):,} characters.")
    tag = canonical_language(lang) if lang is not None else old.lang if old is not None else UNKNOWN_LANGUAGE
    fresh = given_caption_id(key, "human", tag, None, said)
    if old is not None and old.caption_id == fresh and old.dropped is None:
        return Edited(key, fresh, "", said, tag)
    row = Caption(
        said, tag, "human", parents=[old.caption_id] if old is not None else (), recipe="human", image_id=key,
        caption_id=fresh, author=author,
    )  # fmt: skip
    with data.writer():
        data.captions.insert([caption_to_row(row)])
        data.captions.change([{"caption_id": fresh, "dropped": None}])  # corrected away once, and right again
    if old is not None and old.caption_id != fresh:
        _dropped(data, old.caption_id, CORRECTED)
    _note(data, fresh, "correct" if old is not None else "add", old.text if old is not None else "", said, author)
    return Edited(key, fresh, old.caption_id if old is not None and old.caption_id != fresh else "", said, tag)


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


def _note(data: Dataset, item: str, action: str, before: str, after: str, author: str, of: str = "captions") -> None:
    now = datetime.now(UTC)
    row = {"item": item, "of": of, "action": action, "before": before, "after": after, "author": author or None}
    key = hash_parts("edit", item, action, now.isoformat(), after)
    data.edits.insert([{**row, "edit_id": key, "time": now, "run_id": ""}])


@verb
def forget(
    dataset: Dataset | str | os.PathLike[str], *images: str, author: str = "", dry_run: bool = False
) -> Forgotten:
    """Forget pictures: their bytes, captions, vectors, facts, hashes; they are in no search, export or report.

    What remains is a mark `forgotten` under the picture's id, so that a later build does not take it in again, and a
    row in `edits`. Older versions of the tables are erased too, so nobody can go back to them. What was exported,
    copied or backed up before is not here and is not reached.

    Args:
        dataset: a dataset, or its path.
        images: ids, beginnings of them, uris, or names of files.
        author: who wants it.
        dry_run: only say what would go.

    Raises:
        UserError: no such picture, or none given.
    """
    data = open_dataset(dataset)
    if not images:
        raise UserError(f"say which pictures: {command('forget', data.address, 'IMAGE')}")
    ids = list(dict.fromkeys(find_image(data, one) for one in images))
    captions = [i for at in _chunks(ids) for i in _column(data, "captions", "caption_id", at)]
    if dry_run:
        return Forgotten(len(ids), len(captions), False)
    with data.writer():
        data.marks.upsert(
            [{"image_id": key, "scores": {}, "dropped": FORGOTTEN, "run_id": ""} for key in ids]
        )  # first: from here on nobody finds them
        for key in ids:
            _note(data, key, "forget", "", "", author, of="images")
        owners = [*ids, *captions]
        for name in data.vector_names():
            for some in _chunks(owners):
                data.vectors(name).delete(sql_in("id", some))
        for some in _chunks(ids):
            for table in ("captions", "hashes", "facts", "images", "places", "splits", "choices", "triples"):
                getattr(data, table).delete(sql_in("image_id", some))
        for some in _chunks(owners):
            data.ratings.delete(sql_in("item", some))
            _unsaid(data, some)
    return Forgotten(len(ids), len(captions), erase(data))


def _unsaid(data: Dataset, items: Sequence[str]) -> None:
    """Texts of edits that are about what is forgotten."""
    rows = data.edits.rows(["edit_id"], sql_in("item", list(items)))
    if rows:
        data.edits.change([{"edit_id": row["edit_id"], "before": "", "after": ""} for row in rows])


def erase(data: Dataset) -> bool:
    """Rewrite what holds deleted rows and remove older versions; False while somebody else writes."""
    with data.alone() as mine:
        if not mine:
            return False
        for table in data._tables():
            held: Any = table.lance()
            held.optimize.compact_files(materialize_deletions=True, materialize_deletions_threshold=0.0, num_threads=1)
            table.lance().cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
        # copies of vectors and words; made again when needed
        shutil.rmtree(data.store.scratch("cache"), ignore_errors=True)
    return True


def _chunks(ids: Sequence[str]) -> list[list[str]]:
    return [list(ids[at : at + 500]) for at in range(0, len(ids), 500)]


def _column(data: Dataset, table: str, column: str, images: Sequence[str]) -> list[str]:
    found: list[str] = getattr(data, table).read([column], sql_in("image_id", list(images)))[column].to_pylist()
    return found
