"""PDF: the pictures of a document with their captions, what the text says of them, and pages. Needs the extra `pdf`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from panoglot.errors import RowError, UserError, require_later
from panoglot.formats._documents import Document, counted, files_with, options_of
from panoglot.formats._files import check_regular, has_all, join_uri, part_key, reject
from panoglot.formats._numbered import Mentions
from panoglot.formats._pdf_process import read_document
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._xmp import stated_terms
from panoglot.geometry import Region
from panoglot.languages._tags import parse_language
from panoglot.table import Reject

__all__ = ["detect", "parts", "read"]

_PAGES = ("drawn", "all", "none")
_NO_LETTER = "the file does not say which these are; � stands for them"
_MOST_TEXT = 256 * 2**20  # characters of a document


def detect(source: str) -> bool:
    """A PDF, or a folder of which all that is not hidden is PDF."""
    return has_all(source, ".pdf")


def parts(
    source: str,
    *,
    texts: str = "caption,alt,mention",
    pages: str = "drawn",
    dpi: int = 150,
    min_side: int = 100,
    context: bool = True,
    lang: str | None = None,
    kind: str | None = None,
) -> Iterator[Part]:
    """List the documents: a part each.

    Args:
        source: a file or a folder of them.
        texts: which of `caption`, `alt` (of tagged documents), `mention` become captions, with commas.
        pages: which pages are pictures themselves: `drawn`, those with a figure that is drawn and no picture; `all`;
            `none`.
        dpi: pixels an inch of such a page.
        min_side: least pixels of the shorter side of a picture.
        context: keep title, section and mentions with the picture.
        lang: language of the texts; None to identify it.
        kind: kind of the captions; `human`, and `alt` of alternative texts and mentions, unless given.

    Raises:
        MissingPackage: the extra `pdf` is not installed.
        UserError: an option out of its range.
    """
    require_later("pypdfium2", "panoglot[pdf]", f"'{source}'")
    if pages not in _PAGES:
        raise UserError(f"pages='{pages}': use {', '.join(_PAGES)}.")
    if not 10 <= dpi <= 1200:
        raise UserError(f"dpi={dpi}: give 10 to 1200.")
    options = options_of(texts, context, lang, kind) | {"pages": pages, "dpi": dpi, "min_side": min_side}
    for path in files_with(source, ".pdf"):
        items = {"path": os.path.abspath(path), **options}
        yield Part("pdf", join_uri(os.path.abspath(path)), part_key("pdf", path, options), items)


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read a document: `group` is the document, `time` the page, `region` the place on it."""
    try:
        check_regular(part.items["path"])
        yield from _read(part)
    except RowError as error:
        cut = _cut(part.items["path"]) if error.reason == "bad_document" else ""
        yield reject(part.uri, "truncated" if cut else error.reason, cut or error.message)


def _read(part: Part) -> Iterator[Sample | Reject | Unused]:
    items = part.items
    document = Document(part.uri, items, licence=stated_terms(items["path"]))
    mentions = Mentions()
    silent: list[str] = []
    unknown: dict[str, int] = {}
    rest: dict[str, int] = {}  # page to its texts that are about no figure
    sections: list[list[Any]] = []
    pages = room = 0
    options = {name: items[name] for name in ("pages", "dpi", "min_side")}
    for record, data in read_document(items["path"], **options):
        place = f"{part.uri}#page={record.get('page', 0) + 1}"
        kind = record["kind"]
        if kind == "document":
            pages, sections = record["pages"], sorted(record["sections"], key=lambda one: one[0])
            document.title, document.author = record["title"], record["author"]
            document.lang = parse_language(record["lang"])
            if (cut := _cut(items["path"])) or not pages:
                yield reject(part.uri, "truncated", f"{cut or 'no page is left'}; {pages:,} pages could be read")
        elif kind == "text":
            room += sum(map(len, record["blocks"]))
            if room <= _MOST_TEXT:
                at = place.rpartition("#")[2]
                rest[at] = mentions.read(record["page"], record["blocks"])
                unknown[at] = record["unknown"]
            if record["problem"]:
                yield reject(place, "bad_document", record["problem"])
            elif record["figures"] and not record["characters"]:
                silent.append(place.rpartition("#")[2])
        elif kind == "figure":
            document.section = next((title for page, title in reversed(sections) if page <= record["page"]), "")
            yield _sample(document, record, data, mentions, place)
        elif kind in ("reject", "lost"):
            at = f"{place}&picture={record['picture']}" if record.get("picture") else place
            yield reject(at, record["reason"], record["message"])
        elif kind == "done":
            yield from _not_used(part.uri, record, place, items["pages"])
    yield from counted(part.uri, "letter{s} of its texts", unknown, _NO_LETTER)
    yield from counted(part.uri, "paragraph{s} about no figure", rest)
    if silent:
        hint = "these pictures have no captions of their own: --captioner writes some"
        yield Unused.of(part.uri, "page text{s} (there is no text layer: scans?)", silent, hint)


def _sample(document: Document, record: dict[str, Any], data: bytes, mentions: Mentions, place: str) -> Sample:
    page = record["page"]
    captions = {one["number"]: one["text"] for one in record["captions"]}
    near = [(at + 1, said) for number, text in captions.items() for at, said in mentions.of(number, page, text)]
    sample = document.sample(
        data,
        f"{place}&picture={record['picture']}" if record["picture"] else place,
        captions=list(captions.values()),
        alts=[record["alt"]] if record["alt"] else [],
        mentions=near,
        page=page + 1,
        figure=", ".join(captions),
    )
    sample.time = float(page + 1)
    if record["how"] == "embedded":
        sample.region = Region(*record["box"])
    else:
        sample.context["rendered"] = record["how"]
    return sample


def _not_used(uri: str, record: dict[str, Any], place: str, pages: str) -> Iterator[Unused]:
    name = (place.rpartition("#")[2],)
    for why, what, hint in (
        ("small", "picture{s} with a side that is too short", "--option min_side=1 takes all"),
        ("more", "picture{s} of a page after its first 200", ""),
        ("drawn", "drawn figure{s} without a picture", "--option pages=drawn renders their pages"),
    ):
        if record[why] and (why != "drawn" or pages == "none"):
            yield Unused(uri, what, name, record[why], hint)


def _cut(path: str) -> str:
    """What shows that the end of a file is missing, or empty."""
    with open(path, "rb") as file:
        if b"%PDF-" not in file.read(1024):
            return ""
        file.seek(max(0, os.path.getsize(path) - 2048))
        return "" if b"%%EOF" in file.read() else "the end of the file is missing, where it says what is where"
