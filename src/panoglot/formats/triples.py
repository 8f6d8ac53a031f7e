"""Composed queries: a picture, what shall be different, the picture that fits; as CIRR, FashionIQ and CIRCO write them.

| form | reference | text | target | negatives |
|---|---|---|---|---|
| CIRR `cap.rc2.*.json` | `reference` | `caption` | `target_hard` | `img_set.members`, but those in `target_soft` |
| FashionIQ `cap.*.json` | `candidate` | `captions`, joined | `target` | |
| CIRCO `val.json` | `reference_img_id` | `relative_caption` | `target_img_id`, then `gt_img_ids` | |
| columns | `reference` | `text` | `target` | `negatives` |

Files: JSON arrays, JSON lines, CSV, TSV, Parquet, or a folder with some of them. Pictures are named by path, by the
file's name, or by that without its suffix; CIRCO's numbers are COCO's file names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats._annotations import elements, head_of, parts_beside
from panoglot.formats._checked import encodable
from panoglot.formats._csv_rows import together
from panoglot.formats._files import is_hidden, join_uri, part_key, read_named, reject, states_of, suffix_of
from panoglot.formats._layout import find_layout
from panoglot.formats._parquet_rows import open_file, rows_within_limits
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import given
from panoglot.formats.tabular import table_rows
from panoglot.identity import counted
from panoglot.pictures import SUFFIXES
from panoglot.table import Reject, Triple, image_id

__all__ = ["detect", "fashion_iq_text", "parts", "read"]

_ROWS = 256
_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
#: What each form calls its parts, the surest names first.
_REFERENCE = ("reference", "candidate", "reference_img_id", "reference_image")
_TARGET = ("target", "target_hard", "target_img_id", "target_image")
_TEXT = ("text", "relative_caption", "caption", "captions", "instruction")
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test",
           "test1": "test"}  # fmt: skip
_MOST_NAMES, _MOST_FILES, _LONGEST = 1000, 2_000_000, 10_000


def fashion_iq_text(captions: Sequence[str], sep: str = " and ") -> str:
    """One instruction of a query's two captions, stripped of `.?, ` at their ends; an empty one is left out.

    >>> fashion_iq_text(["is shiny and silver.", "fit and flare "]), fashion_iq_text([" .", "is red"])
    ('is shiny and silver and fit and flare', 'is red')
    """
    return sep.join(text for text in (caption.strip(".?, ") for caption in captions) if text)


def detect(source: str) -> bool:
    """A file whose rows have a reference, a target and a text; or a folder with such a file."""
    return bool(_files(source))


def _files(source: str) -> list[str]:
    if not os.path.isdir(source):
        return [source] if _has_triples(source) else []
    names = sorted(name for name in os.listdir(source) if suffix_of(name) in _SUFFIXES and not is_hidden(name))[:100]
    return [path for name in names if _has_triples(path := os.path.join(source, name))]


def _has_triples(path: str) -> bool:
    if suffix_of(path) not in _SUFFIXES or not os.path.isfile(path):
        return False
    if suffix_of(path) == ".parquet":
        try:
            names = set(open_file(path).schema_arrow.names)
        except Exception:  # no Parquet file: whose it is, is another's to say
            return False
        return _names_a_triple(names)
    head = head_of(path)
    if head[:1] not in b"[{" or not head:
        if suffix_of(path) not in (".csv", ".tsv"):
            return False
        line = re.split(rb"[\r\n]", head, maxsplit=1)[0].decode("utf-8", "replace")
        return _names_a_triple({name.strip(' "') for name in re.split(r"[,;\t|]", line)})
    return _names_a_triple({key.decode() for key in re.findall(rb'"([a-z_]{4,20})"\s*:', head)})


def _names_a_triple(names: set[str]) -> bool:
    return all(any(name in names for name in some) for some in (_REFERENCE, _TARGET, _TEXT))


def parts(
    source: str, *, image_dir: str | None = None, lang: str | None = None, kind: str | None = None
) -> Iterator[Part]:
    """List composed queries in parts of 256, with the pictures that they name; of a folder also the other pictures.

    Args:
        source: a file of them, or a folder with some.
        image_dir: folder of the pictures, with folders in it; the file's own unless given.
        lang: language of texts that do not say theirs; None to identify it.
        kind: kind of the captions that a folder has beside its other pictures.
    """
    given(lang, kind)
    seen: set[str] = set()
    files = _files(source) or ([source] if os.path.isfile(source) else [])
    if not files:
        raise UserError(f"'{source}' has no file whose rows have a reference, a text and a target.")
    for path in files:
        folder = os.path.abspath(image_dir or os.path.dirname(path) or ".")
        if not os.path.isdir(folder):
            raise UserError(f"there is no folder {folder}.")
        found = _pictures(folder)
        rows = [_placed(row, found) for row in _rows(path)]
        seen |= {os.path.realpath(os.path.join(folder, name)) for row in rows for name in row.get("names", {}).values()}
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            names = [os.path.join(folder, name) for row in some for name in row.get("names", {}).values()]
            key = part_key(
                "triples", path, start, folder, states_of(names), counted(parts, {"lang": lang, "kind": kind})
            )
            items = {"rows": some, "folder": folder, "first": start, "lang": lang, "split": _split_of(path)}
            yield Part("triples", join_uri(path), key, items, len(some))
    yield from parts_beside(source, files, lambda: seen, lang, kind)


def _split_of(path: str) -> str:
    """The split that a file's name says, or none.

    >>> _split_of("x/cap.rc2.val.json"), _split_of("train.jsonl"), _split_of("wishes.csv")
    ('val', 'train', '')
    """
    pieces = os.path.basename(path).lower().split(".")
    return next((_SPLITS[piece] for piece in reversed(pieces[:-1]) if piece in _SPLITS), "")


def _pictures(folder: str) -> dict[str, str]:
    """Names of the pictures in a folder: path, file name, that without its suffix, and its number; to the path.

    The first by path counts where two have one name.
    """
    found: dict[str, str] = {}
    count = 0
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name) and not name.endswith(".pano"))
        for name in sorted(names):
            if suffix_of(name) not in SUFFIXES or is_hidden(name):
                continue
            count += 1
            if count > _MOST_FILES:
                return found
            path = os.path.relpath(os.path.join(at, name), folder)
            stem = os.path.splitext(name)[0]
            for one in (path, path.replace(os.sep, "/"), os.path.splitext(path)[0], name, stem):
                found.setdefault(one, path)
            if stem.isascii() and stem.isdigit():
                found.setdefault(str(int(stem)), path)
    return found


def _rows(path: str) -> Iterator[dict[str, Any]]:
    """The rows of a file as plain triples; `problem` where there is none."""
    try:
        for row in _raw(path):
            yield _plain(row) if isinstance(row, Mapping) else {"problem": str(row)}
    except UserError:
        raise
    except RowError as error:
        raise UserError(f"{path} cannot be read: {error.message}.") from None
    except Exception as error:  # Parquet's own errors are many
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}.") from None


def _raw(path: str) -> Iterator[Any]:
    if suffix_of(path) == ".parquet":
        file = open_file(path)
        for group in range(file.num_row_groups):
            yield from (row for row in rows_within_limits(file, path, group, "") if not isinstance(row, RowError))
        return
    layout = find_layout(path)
    if layout.kind == "array":
        yield from elements(path)
        return
    for row, _, _ in together((row, after) for row, after, _ in table_rows(path, layout, layout.start)):
        yield row


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of any form: reference, text, targets, negatives, lang, split."""

    def first(names: Sequence[str]) -> Any:
        return next((row[name] for name in names if row.get(name) not in (None, "", [])), None)

    text = first(_TEXT)
    if isinstance(text, list | tuple):
        text = fashion_iq_text([one for one in text if isinstance(one, str)])
    targets = _named(first(_TARGET))
    targets += [name for name in _named(row.get("gt_img_ids")) if name not in targets]
    negatives = _named(row.get("negatives"))
    members = row.get("img_set")
    if isinstance(members, Mapping):
        right = {*targets, *_named(first(_REFERENCE))}
        soft = row.get("target_soft")
        right |= set(map(str, soft)) if isinstance(soft, Mapping) else set()
        negatives += [name for name in _named(members.get("members")) if name not in right]
    said = {name: value for name in ("lang", "split") if isinstance(value := row.get(name), str) and len(value) < 40}
    return {
        "reference": (_named(first(_REFERENCE)) or [""])[0], "text": text if isinstance(text, str) else "",
        "targets": targets, "negatives": negatives, **said,
    }  # fmt: skip


def _named(value: Any) -> list[str]:
    """Names of pictures: one, a list of them, or a text that has several with semicolons.

    >>> _named("a.jpg; b.jpg"), _named(7), _named(["x", 3, None, {}])
    (['a.jpg', 'b.jpg'], ['7'], ['x', '3'])
    """
    if isinstance(value, str):
        value = value.split(";")
    rows = value if isinstance(value, list | tuple) else [value]
    kept = [
        str(int(one)) if isinstance(one, float) and one.is_integer() else str(one)
        for one in rows[:_MOST_NAMES]
        if isinstance(one, str | int | float) and not isinstance(one, bool)
    ]
    return [name for one in kept if (name := one.strip()) and len(name) < 1000]


def _placed(row: dict[str, Any], found: Mapping[str, str]) -> dict[str, Any]:
    """The row with the paths of the pictures that it names, those that are there."""
    if "problem" in row:
        return row
    names = [row["reference"], *row["targets"], *row["negatives"]]
    places = {name: found.get(name) or found.get(name.removeprefix("./")) for name in names}
    return {**row, "names": {name: path for name, path in places.items() if path}}


def read(part: Part) -> Iterator[Sample | Reject | Unused | Triple]:
    """Read the pictures of a part, each once, and the triples over them; what they name and is not there is counted."""
    items = part.items
    ids: dict[str, str] = {}  # by name
    given_ids: dict[str, str] = {}  # by path
    missing: list[str] = []
    left: list[str] = []
    for number, row in enumerate(items["rows"], items["first"]):
        place = f"{part.uri}#{number}"
        if "problem" in row:
            yield reject(place, "bad_row", row["problem"])
            continue
        for name, path in row["names"].items():
            if path not in given_ids:
                made = _sample(items["folder"], path)
                given_ids[path] = made.image_id if isinstance(made, Sample) else ""
                yield made
            if given_ids[path]:
                ids[name] = given_ids[path]
        names = [row["reference"], *row["targets"], *row["negatives"]]
        missing += [name for name in names if name and name not in ids]
        positives, negatives = ([ids[name] for name in row[key] if name in ids] for key in ("targets", "negatives"))
        text = row["text"].strip()
        if not row["targets"]:
            left.append(f"{number}: no target")
        elif row["reference"] not in ids or not positives:
            left.append(f"{number}: a picture is missing")
        elif set(positives) == {ids[row["reference"]]}:
            left.append(f"{number}: the target is the reference")
        elif not encodable(text):
            left.append(f"{number}: a text that is not UTF-8")
        elif not text or len(text) > _LONGEST:
            left.append(f"{number}: {'a text of more than 10,000 characters' if text else 'no text'}")
        else:
            split = _SPLITS.get(str(row.get("split") or "").lower(), "") or items["split"]
            lang = items["lang"] or row.get("lang") or "und"
            positives = [key for key in positives if key != ids[row["reference"]]]
            yield Triple(text, ids[row["reference"]], positives, negatives, lang=lang, split=split, recipe="human")
    hint = "name their folder: --option image_dir=FOLDER"
    if left:
        yield Unused.of(part.uri, "row{s} of composed queries", left)
    if missing:
        yield Unused.of(part.uri, "picture{s} that composed queries name", dict.fromkeys(missing), hint)


def _sample(folder: str, path: str) -> Sample | Reject:
    uri = join_uri(folder, path)
    try:
        data = read_named(folder, path)
    except RowError as error:
        return reject(uri, error.reason, error.message)
    return Sample(data, uri, image_id=image_id(data))
