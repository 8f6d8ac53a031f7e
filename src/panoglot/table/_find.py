"""What people name of a dataset: an image by its id, the beginning of it, its uri or its file's name; a plan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from panoglot.errors import UserError, command, did_you_mean, many
from panoglot.table._dataset import Dataset
from panoglot.table._table import sql_in

__all__ = ["find_image", "find_plan"]


def find_image(data: Dataset, wanted: str) -> str:
    """Return the id of the image that `wanted` names.

    Args:
        data: where to look.
        wanted: an id, a beginning of it that no other id has, a uri, or the end of one after a `/`.

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
        ending = quoted.replace("'", "'/", 1)
        where = f"uri = {quoted} or ends_with(uri, {ending})"
        found = data.images.read(["image_id", "uri"], where, limit=6).to_pylist()
        exact = [row for row in found if row["uri"] == wanted]
        found = exact if len(exact) == 1 else found
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
        uris = data.images.read(["uri"], limit=20_000)["uri"].to_pylist()
        names = [uri if "/" in wanted else uri.rpartition("/")[2] for uri in uris if uri]
    hint = did_you_mean(wanted, names)
    gone = data.marks.count("dropped = 'forgotten'")
    if gone and "mean" not in hint:
        return f" {many(gone, 'picture{s} {was}')} forgotten, and every name with it: the id alone is known."
    return hint if "mean" in hint else " An image is named by its id, the beginning of its id, or its uri."


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
