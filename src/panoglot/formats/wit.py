"""WIT (Srinivasan et al. 2021, SIGIR): pictures of Wikipedia with three texts, from pages or from the published TSV.

The reference is the visible caption under a picture, the attribution the text of the file's own page, the alternative
text what is read out instead of it. `row_fault` has the rules on rows (card of the method, algorithm 2 to 4).
"""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

from panoglot.errors import RowError, UserError
from panoglot.formats._csv_rows import csv_rows
from panoglot.formats._figures import Figure, figures
from panoglot.formats._files import check_regular, join_uri, open_regular, part_key, reject, states_of
from panoglot.formats._pages import Page, Pictures, batches_of, check_source, files_of, things_of
from panoglot.formats._sample import Address, Part, Sample, Unused
from panoglot.formats._texts import clean_context, given
from panoglot.identity import Added, counted
from panoglot.languages._tags import parse_language
from panoglot.pictures import SUFFIXES
from panoglot.table import Caption, Reject

__all__ = ["COLUMNS", "Row", "detect", "parts", "read", "row_fault"]

TEXTS = ("reference", "attribution", "alt")
_STOCK = frozenset("image img photo photograph picture icon logo refer to caption thumbnail note tip warning".split())
_FILE_NAME = re.compile(
    r"(file:|image:)?[^\s/]{1,200}\.(" + "|".join(sorted(s[1:] for s in SUFFIXES)) + r")", re.IGNORECASE
)
_PREFIX = re.compile(r"^(English|Deutsch|Français|Español|日本語|Русский|العربية):\s+")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of WIT: 17 columns in the order of the published files; None where a flag or number is not said."""

    language: str = ""
    page_url: str = ""
    image_url: str = ""
    page_title: str = ""
    section_title: str = ""
    hierarchical_section_title: str = ""
    caption_reference_description: str = ""
    caption_attribution_description: str = ""
    caption_alt_text_description: str = ""
    mime_type: str = ""
    original_height: int | None = None
    original_width: int | None = None
    is_main_image: bool | None = None
    attribution_passes_lang_id: bool | None = None
    page_changed_recently: bool | None = None
    context_page_description: str = ""
    context_section_description: str = ""

    @classmethod
    def of(cls, values: Sequence[str]) -> Row:
        r"""Read the 17 values of a line; `\N` and nothing are one.

        Raises:
            RowError: `bad_row`.

        >>> row = Row.of(["en", *[""] * 9, "600", "800", "true", "false", "", "", ""])
        >>> row.original_width, row.is_main_image, row.attribution_passes_lang_id, row.page_changed_recently
        (800, True, False, None)
        >>> Row.of(row.values()) == row
        True
        """
        if len(values) != len(COLUMNS):
            raise RowError("bad_row", f"{len(values)} columns, WIT has {len(COLUMNS)}")
        plain = dict(zip(COLUMNS, ("" if value == "\\N" else value for value in values), strict=True))
        found: dict[str, Any] = dict(plain)
        for name in _NUMBERS:
            if plain[name] and not (plain[name].isascii() and plain[name].isdigit()):
                raise RowError("bad_row", f"{name} is {plain[name][:40]!r}, no number")
            found[name] = int(plain[name]) if plain[name] else None
        for name in _FLAGS:
            if plain[name].lower() not in ("true", "false", ""):
                raise RowError("bad_row", f"{name} is {plain[name][:40]!r}, neither true nor false")
            found[name] = {"true": True, "false": False}.get(plain[name].lower())
        return cls(**found)

    def values(self) -> list[str]:
        """The values as a line of the published files has them."""
        return [_written(getattr(self, name)) for name in COLUMNS]


COLUMNS = tuple(one.name for one in fields(Row))
_NUMBERS = ("original_height", "original_width")
_FLAGS = ("is_main_image", "attribution_passes_lang_id", "page_changed_recently")


def _written(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def row_fault(row: Row, *, min_side: int = 100, min_characters: int = 3, enforce_flag: bool = True) -> str | None:
    """The first rule that a row breaks, or None: `small`, `no_text`.

    A text counts where it has so many characters, is no file name and no stock word; an attribution counts where a
    language identifier agreed (`attribution_passes_lang_id`), unless the flag is not enforced.
    """
    sides = [side for side in (row.original_width, row.original_height) if side is not None]
    if sides and min(sides) < min_side:
        return "small"
    return None if texts_of(row, min_characters=min_characters, enforce_flag=enforce_flag) else "no_text"


def texts_of(row: Row, *, min_characters: int = 3, enforce_flag: bool = True) -> dict[str, str]:
    """The texts of a row that count, by what they are."""
    said = {
        "reference": row.caption_reference_description,
        "attribution": row.caption_attribution_description,
        "alt": row.caption_alt_text_description,
    }
    if enforce_flag and row.attribution_passes_lang_id is False:
        said["attribution"] = ""
    found: dict[str, str] = {}
    for name, text in said.items():
        text = " ".join(_PREFIX.sub("", text.strip()).split())
        bare = text.strip(" .[]()").lower()
        if text[:1] == "[" and text[-1:] == "]":  # [Note], [注記]: what stands in for an icon
            continue
        counts = len(text) >= min_characters and not _FILE_NAME.fullmatch(text) and not set(bare.split()) <= _STOCK
        if counts and text not in found.values():  # an alternative text may say what the caption says
            found[name] = text
    return found


def detect(source: str) -> bool:
    """WIT's TSV (its header), or a folder of such; pages where they are named: `--extract wit`."""
    return any(_is_table(path) for path in _tables(source))


def _tables(source: str) -> list[str]:
    if not os.path.isdir(source):
        return [source]
    return [os.path.join(source, n) for n in sorted(os.listdir(source)) if n.lower().endswith((".tsv", ".tsv.gz"))]


def _is_table(path: str) -> bool:
    if not path.lower().endswith((".tsv", ".tsv.gz")) or not os.path.isfile(path):
        return False
    try:
        with _open(path) as file:
            first: str = file.readline(4096).decode("utf-8", "replace")
        return first.rstrip("\r\n").split("\t")[:3] == list(COLUMNS[:3])
    except (OSError, EOFError, zlib.error, RowError):
        return False


def _open(path: str) -> Any:
    file = io.BufferedReader(open_regular(path))
    return gzip.GzipFile(fileobj=file) if path.lower().endswith(".gz") else file


def parts(
    source: str,
    *,
    texts: str = "reference,attribution,alt",
    enforce_flag: bool = True,
    min_side: int = 100,
    min_characters: int = 3,
    main_only: bool = False,
    context: bool = True,
    lang: Annotated[str | None, Added(None)] = None,
    kind: Annotated[str | None, Added(None)] = None,
    download: Annotated[bool | None, Added(None)] = None,
    allow_private: Annotated[bool, Added(False)] = False,
    per_host: Annotated[int, Added(4)] = 4,
) -> Iterator[Part]:
    """List files: a part each.

    Args:
        source: WIT's TSV (gzipped or not), an HTML page, a WARC file, or a folder of them.
        texts: which of `reference`, `attribution`, `alt` become captions, the most wanted first, with commas.
        enforce_flag: leave out attributions that are in another language than their page.
        min_side: least pixels of the shorter side, where the source says it.
        min_characters: least characters of a text.
        main_only: the main picture of a page alone.
        context: keep the page's and the section's first paragraph.
        lang: language of texts whose page does not say it; None to identify it.
        kind: kind of the captions; `human`, and `alt` of alternative texts, unless given.
        download: fetch pictures that are not beside the pages; None does so for the TSV, which is a list of addresses.
        allow_private: hosts of private networks and of this machine may be asked.
        per_host: requests to one host at once.
    """
    wanted = [name.strip() for name in texts.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in TEXTS]
    if unknown or not wanted:
        raise UserError(f"texts='{texts}': name some of {', '.join(TEXTS)}, with commas.")
    options = {"texts": wanted, "enforce_flag": enforce_flag, "min_side": min_side, "min_characters": min_characters}
    given(lang, kind)
    options |= {"main_only": main_only, "context": context, "lang": lang, "kind": kind}
    web = {"allow_private": allow_private, "per_host": per_host}
    tables = [path for path in _tables(source) if _is_table(path)]
    for path in tables:
        items = {"path": os.path.abspath(path), "download": download is not False, **options, **web}
        yield Part(
            "wit", join_uri(path), part_key("wit", path, counted(parts, {**options, "download": download})), items
        )
    if tables:
        return
    files = files_of(source)
    check_source(source, files)
    root = os.path.abspath(source if os.path.isdir(source) else os.path.dirname(source) or ".")
    for batch in batches_of(files):
        paths = [os.path.abspath(path) for path in batch]
        items = {"paths": paths, "root": root, "download": bool(download), **options, **web}
        key = part_key("wit", batch[0], batch, states_of(batch), counted(parts, {**options, "download": download}))
        yield Part("wit", join_uri(source), key, items)


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read a file: its rows or figures, those that break a rule counted by the rule."""
    if "paths" in part.items:
        yield from _read_pages(part)
        return
    number = 0
    try:
        check_regular(part.items["path"])
        with _open(part.items["path"]) as file:
            header = file.readline(2**16).decode("utf-8", "replace").rstrip("\r\n").split("\t")
            for number, (values, _) in enumerate(csv_rows(file, header, "\t")):
                place = f"{part.uri}#{number}"
                try:
                    if isinstance(values, RowError):
                        raise values
                    row = Row.of([values[name] for name in COLUMNS if name in values])
                except RowError as error:
                    yield reject(place, error.reason, error.message)
                    continue
                yield from _sample(row, b"", place, part)
    except RowError as error:
        yield reject(part.uri, error.reason, error.message)
    except (OSError, EOFError, zlib.error) as error:
        yield reject(f"{part.uri}#{number}-", "truncated_archive", f"{error}; the rows before are read")


_FAULTS = {
    "small": ("row{s} of WIT with a side that is too short", "--option min_side=1 takes them"),
    "no_text": ("row{s} of WIT without a text that counts", "--option min_characters=1 takes shorter ones"),
    "not_main": ("row{s} of WIT that are not the main picture of their page", "--option main_only=false takes them"),
}


def _sample(row: Row, data: bytes, place: str, part: Part, licence: str = "") -> Iterator[Sample | Reject | Unused]:
    items = part.items
    rules = {name: items[name] for name in ("min_characters", "enforce_flag")}
    fault = row_fault(row, min_side=items["min_side"], **rules)
    if fault is None and items["main_only"] and row.is_main_image is False:
        fault = "not_main"
    if fault is not None:
        what, hint = _FAULTS[fault]
        yield Unused(part.uri, what, (place,), hint=hint)
        return
    if not data and not (items["download"] and row.image_url):
        hint = f"{row.image_url[:200]} is not fetched; --option download=true fetches it"
        yield reject(place, *(("remote_url", hint) if row.image_url else ("no_image", "no image_url")))
        return
    said = texts_of(row, **rules)
    texts = given(items["lang"], items["kind"], web=True).said(parse_language(row.language))
    captions: list[Caption] = []
    for name in items["texts"]:
        if name in said:
            caption = texts.caption(said[name])
            caption.kind = items["kind"] or ("alt" if name == "alt" else "human")
            caption.licence = licence
            captions.append(caption)
    about = dict(zip(COLUMNS, row.values(), strict=True))
    if not items["context"]:
        about = {name: value for name, value in about.items() if not name.startswith("context_")}
    facts = clean_context({"url": row.image_url, **about} | ({"licence": licence} if licence else {}))
    address = None if data else Address(row.image_url, items["allow_private"], items["per_host"])
    yield Sample(data, place, captions, group=row.image_url or None, context=facts, address=address)


def _read_pages(part: Part) -> Iterator[Sample | Reject | Unused]:
    for one in things_of(part, figures, "page{s} without a picture that has a text"):
        if isinstance(one, Reject | Unused):
            yield one
            continue
        page, pictures, found = one
        for n, figure in enumerate(found):
            yield from _of_page(page, pictures, figure, f"{page.uri}#{n}", part)


def _of_page(
    page: Page, pictures: Pictures, figure: Figure, place: str, part: Part
) -> Iterator[Sample | Reject | Unused]:
    address = page.link(figure.src)
    row = Row(
        language=figure.lang or page.lang or "",
        page_url=page.url,
        image_url=address,
        page_title=figure.page_title,
        section_title=figure.section,
        hierarchical_section_title=" / ".join(figure.sections),
        caption_reference_description=figure.caption,
        caption_alt_text_description=figure.alt,
        original_width=figure.width,
        original_height=figure.height,
        is_main_image=figure.main,
        context_page_description=figure.page_text,
        context_section_description=figure.section_text,
    )
    try:
        data = pictures.find(address, page.url)
    except RowError as error:
        yield reject(place, error.reason, f"{address[:200]}: {error.message}")
        return
    yield from _sample(row, data or b"", place, part, page.licence())
