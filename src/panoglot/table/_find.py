"""What people name of a dataset: an image by its id, the beginning of it, its uri or its name; a plan."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from panoglot.errors import UserError, command, did_you_mean, many
from panoglot.table._dataset import Dataset
from panoglot.table._table import sql_in

__all__ = ["find_image", "find_plan", "picture_name", "picture_names"]

#: Where the row of a table says what its picture is called: as a name of a file, an address, or anything else.
_FILES = ("file", "file_name", "filename", "file_path", "filepath", "image_path", "image_file", "image_name", "path")
_ADDRESSES = ("url", "image_url", "img_url")
_OTHERS = ("name", "key", "id", "image_id", "uid")
_PICTURE = re.compile(r"[^/]+\.(jpe?g|png|webp|gif|tiff?|bmp|avif|svg|heic)", re.IGNORECASE)
_ROW = re.compile(r".*#\d+(/\d+)?", re.DOTALL)


def picture_name(uri: str | None, context: str | None) -> str:
    """What people call a picture: the name of its file; of a row the name that it gives, else table and number.

    Args:
        uri: where it came from.
        context: as it is stored, JSON.

    >>> picture_name("/data/pets/cat.png", "{}"), picture_name("a.tar#pets/cat.png", None)
    ('cat.png', 'cat.png')
    >>> picture_name("/d/rows.parquet#7", '{"file": "pets/cat.png"}'), picture_name("/d/rows.parquet#7", "{}")
    ('cat.png', 'rows.parquet#7')
    """
    uri = (uri or "").rstrip("/")
    outer, _, inner = uri.rpartition("#")
    if _ROW.fullmatch(uri):
        return next(_own(context), "") or f"{_last(outer)}#{inner}"
    return _last(inner) or _last(outer)


def picture_names(data: Dataset, ids: Sequence[str]) -> dict[str, str]:
    """What some pictures of a dataset are called, by their ids."""
    rows = data.images.get(list(dict.fromkeys(ids)), ["uri", "context"]).to_pylist()
    return {row["image_id"]: picture_name(row["uri"], row["context"]) or row["image_id"][:12] for row in rows}


def _last(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _said(context: str | None) -> dict[str, Any]:
    try:
        found = json.loads(context or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _own(context: str | None) -> Iterator[str]:
    """The names of files and addresses that a row gives its picture, without folders."""
    said = _said(context)
    yield from (_last(said[key]) for key in _FILES if isinstance(said.get(key), str) and _last(said[key]))
    yield from (said[key] for key in _OTHERS if isinstance(said.get(key), str) and _PICTURE.fullmatch(said[key]))
    for key in _ADDRESSES:
        if isinstance(address := said.get(key), str):
            try:
                name = _last(unquote(urlsplit(address).path))
            except ValueError:
                name = ""
            if name:
                yield name


def find_image(data: Dataset, wanted: str) -> str:
    """Return the id of the image that `wanted` names.

    Args:
        data: where to look.
        wanted: an id, a beginning of it that no other id has, a uri, the end of one after a `/` or `#`, or the
            name, key or address that the row of a table gives its picture.

    Raises:
        UserError: no such image (near names are said), or several that fit.
    """
    if not wanted.strip():
        raise UserError("give an image: its id, the beginning of its id, or its uri.")
    quoted = "'" + wanted.replace("'", "''") + "'"
    found: list[dict[str, Any]] = []
    hexadecimal = set(wanted.lower()) <= set("0123456789abcdef") and len(wanted) <= 32
    if hexadecimal:
        found = data.images.read(["image_id", "uri"], f"starts_with(image_id, '{wanted.lower()}')", limit=6).to_pylist()
    if not found:
        where = " or ".join([f"uri = {quoted}", *(f"ends_with(uri, '{mark}{quoted[1:]})" for mark in "/#")])
        found = data.images.read(["image_id", "uri"], where, limit=6).to_pylist()
        exact = [row for row in found if row["uri"] == wanted]
        found = exact if len(exact) == 1 else found
    found = found or _of_rows(data, wanted)
    if len(found) > 1:  # a name means the picture that is there now, not the one that it replaced
        ids = sql_in("image_id", [row["image_id"] for row in found])
        old = set(data.marks.read(["image_id"], f"{ids} and dropped = 'superseded'")["image_id"].to_pylist())
        found = [row for row in found if row["image_id"] not in old] or found
    if len(found) == 1:
        return str(found[0]["image_id"])
    if found:
        listed = ", ".join(
            f"{row['image_id']} ({row['uri']})" for row in sorted(found, key=lambda r: r["image_id"])[:5]
        )
        raise UserError(f"'{wanted}' fits several images: {listed}{' …' if len(found) > 5 else ''}; give more of it.")
    if inside := _inside(data, wanted):
        if len(inside) == 1:
            return str(inside[0]["image_id"])
        names = [row["uri"].rpartition("/")[2] for row in inside]
        line = command("show", data.address, inside[0]["image_id"][:12])
        listed = ", ".join(names[:5]) + (f" … and {len(names) - 5:,} more" if len(names) > 5 else "")
        raise UserError(f"'{wanted}' holds {many(len(inside), 'picture')}: {listed}. The first: {line}")
    if line := _forgotten(data, wanted.lower() if hexadecimal else ""):
        raise UserError(line)
    failed = data.rejects.read(["stage", "reason"], f"item = {quoted}", limit=1).to_pylist()
    if failed:
        raise UserError(
            f"'{wanted}' is not in the dataset: it was rejected by {failed[0]['stage']} ({failed[0]['reason']}). "
            f"Try again: {command('retry', data.address)}"
        )
    raise UserError(f"{data.address} has no image '{wanted}'.{_near(data, wanted, hexadecimal)}")


def _of_rows(data: Dataset, wanted: str) -> list[dict[str, Any]]:
    """Pictures whose rows or samples call them so: by a file's name or path, an address, a key."""
    written = sorted({*(json.dumps(wanted, ensure_ascii=ascii)[1:-1] for ascii in (False, True)), quote(wanted)})
    terms = [*(("context", text) for text in written), ("uri", f"#{wanted}.")]
    quoted = [(column, text.replace("'", "''")) for column, text in terms]
    where = " or ".join(f"contains({column}, '{text}')" for column, text in quoted)
    rows = data.images.read(["image_id", "uri", "context"], where).to_pylist()
    return [row for row in rows if wanted in _names(row)][:6]


def _names(row: dict[str, Any]) -> set[str]:
    """All that a picture may be called by, apart from where it lies."""
    said = _said(row["context"])
    names = {str(said[key]) for key in (*_FILES, *_ADDRESSES, *_OTHERS) if isinstance(said.get(key), str | int)}
    return names | set(_own(row["context"])) | {row["uri"].rpartition("#")[2].rpartition(".")[0]} - {""}


def _inside(data: Dataset, wanted: str) -> list[dict[str, Any]]:
    """The pictures of a document, shard, table or folder, in order of their names."""
    name = wanted.rstrip("/").replace("'", "''")
    terms = [f"starts_with(uri, '{name}{mark}') or contains(uri, '/{name}{mark}')" for mark in "#/"]
    rows = data.images.read(["image_id", "uri"], " or ".join(terms)).to_pylist() if name else []
    return sorted(rows, key=lambda row: (len(row["uri"]), row["uri"]))


def _forgotten(data: Dataset, beginning: str) -> str:
    """Say of the id of a picture that was forgotten that it was, when, and how to take it back; empty of others."""
    if len(beginning) < 4:
        return ""
    where = f"dropped = 'forgotten' and starts_with(image_id, '{beginning}')"
    found = data.marks.read(["image_id"], where, limit=2)["image_id"].to_pylist()
    if len(found) != 1:
        return ""
    edits = data.edits.read(["time"], f"item = '{found[0]}' and action = 'forget'")["time"].to_pylist()
    when = f" on {max(edits):%Y-%m-%d %H:%M} UTC" if edits else ""
    undo = command("forget", data.address, "--undo", found[0])
    return f"the picture {found[0]} was forgotten{when}. To let a later build read it again: {undo}"


def _near(data: Dataset, wanted: str, hexadecimal: bool) -> str:
    names: Iterable[str] = []
    if hexadecimal and len(wanted) >= 4:
        where = f"starts_with(image_id, '{wanted[: max(2, len(wanted) // 2)].lower()}')"
        names = data.images.read(["image_id"], where, limit=200)["image_id"].to_pylist()
    else:
        rows = data.images.read(["uri", "context"], limit=20_000).to_pylist()
        names = [row["uri"] if "/" in wanted else picture_name(**row) for row in rows if row["uri"]]
    hint = did_you_mean(wanted, names)
    gone = data.marks.count("dropped = 'forgotten'")
    if gone and "mean" not in hint:
        return f" {many(gone, 'picture{s} {was}')} forgotten, and every name with it: the id alone is known."
    return hint if "mean" in hint else " An image is named by its id, the beginning of its id, its uri, or its name."


def find_plan(data: Dataset, plan: str) -> str:
    """The plan (or mix) whose captions are meant.

    Raises:
        UserError: there is no such plan.
    """
    if not data.choices.count(sql_in("plan", [plan])):
        names = {name for batch in data.choices.batches(["plan"]) for name in batch.column(0).to_pylist()}
        make = f" Make one: {command('mix', data.address)}" if not names else ""
        raise UserError(f"{data.address} has no plan '{plan}'.{did_you_mean(plan, names)}{make}")
    return plan
