"""EPUB: the pictures of a book with their captions, alternative texts, and what the text says of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from panoglot.errors import RowError, require_later
from panoglot.formats._documents import Document, counted, files_with, options_of
from panoglot.formats._epub_book import Book, joined
from panoglot.formats._figures import figures
from panoglot.formats._files import has_all, join_uri, open_regular, part_key, reject
from panoglot.formats._numbered import Mentions, caption_number
from panoglot.formats._pages import Page, words
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.languages._tags import parse_language
from panoglot.table import Reject

__all__ = ["detect", "parts", "read"]

_BLOCKS = ("p", "li", "td", "dd", "blockquote", "figcaption", "caption", "h1", "h2", "h3", "h4", "h5", "h6")
_MOST = 10_000  # pictures of a chapter


def detect(source: str) -> bool:
    """An EPUB, or a folder of which all that is not hidden is EPUB."""
    return has_all(source, ".epub")


def parts(
    source: str,
    *,
    texts: str = "caption,alt,mention",
    context: bool = True,
    lang: str | None = None,
    kind: str | None = None,
) -> Iterator[Part]:
    """List the books: a part each.

    Args:
        source: a file or a folder of them.
        texts: which of `caption`, `alt`, `mention` become captions, with commas.
        context: keep title, chapter and mentions with the picture.
        lang: language of texts whose book does not say it; None to identify it.
        kind: kind of the captions; `human`, and `alt` of alternative texts and mentions, unless given.

    Raises:
        MissingPackage: the extra `pages` is not installed.
        UserError: an option out of its range.
    """
    require_later("lxml", "panoglot[pages]", f"'{source}'")
    options = options_of(texts, context, lang, kind)
    for path in files_with(source, ".epub"):
        items = {"path": os.path.abspath(path), **options}
        yield Part("epub", join_uri(os.path.abspath(path)), part_key("epub", path, options), items)


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read a book: `group` is the book, `time` the number of the chapter."""
    try:
        with open_regular(part.items["path"]) as file:
            yield from _read(part, Book.of(file))
    except RowError as error:
        yield reject(part.uri, error.reason, error.message)


def _read(part: Part, book: Book) -> Iterator[Sample | Reject | Unused]:
    document = Document(part.uri, part.items, book.title, book.author, book.licence, trusted=True)
    document.lang = parse_language(book.lang)
    mentions, shown = Mentions(), set[str]()
    rest: dict[str, int] = {}  # chapter to its texts that are about no figure
    if not book.chapters:
        raise RowError("bad_document", "it names no chapters")
    for again in (False, True):  # first what the text says of figures, then these
        for n, name in enumerate(book.chapters):
            place = f"{part.uri}#{name[:500]}"
            try:
                page = Page.of(book.page(name) if again is False else book.read(name), place)
            except RowError as error:
                if again:
                    yield reject(place, error.reason, error.message)
                continue
            if not again:
                rest[name] = mentions.read(n, _blocks(page))
                continue
            shown.update(joined(name, image.get("src") or "") for image in page.tree.iter("img"))
            found = figures(page)
            bare = sum(1 for _ in page.tree.iter("img")) - len(found)
            if bare > 0:
                yield Unused(part.uri, "picture{s} of a book without a text", (name,), bare)
            if len(found) > _MOST:
                yield Unused(
                    part.uri, f"picture{{s}} of a chapter after its first {_MOST:,}", (name,), len(found) - _MOST
                )
            for k, figure in enumerate(found[:_MOST]):
                yield _figure(document, book, page, figure, mentions, (n, name, f"{place}#{k}"))
    yield from counted(part.uri, "paragraph{s} about no figure", rest)
    if hidden := [name for name in book.pictures() if name not in shown]:
        yield Unused.of(part.uri, "picture{s} of the book that no page shows", hidden)


def _blocks(page: Page) -> Iterator[str]:
    for element in page.tree.iter(*_BLOCKS):
        if not any(element.iterdescendants(*_BLOCKS)):
            yield words(element)


def _figure(
    document: Document, book: Book, page: Page, figure: Any, mentions: Mentions, at: tuple[int, str, str]
) -> Sample | Reject:
    n, name, place = at
    source = joined(name, figure.src)
    try:
        if not source:
            raise RowError(
                "remote_url" if "://" in figure.src else "outside_folder", f"{figure.src[:200]} is not in the book"
            )
        data = book.read(source)
    except RowError as error:
        return reject(place, error.reason, error.message)
    number = caption_number(figure.caption) if figure.caption else None
    document.section = figure.section or figure.page_title
    sample = document.sample(
        data,
        place,
        captions=[figure.caption] if figure.caption else [],
        alts=[figure.alt] if figure.alt else [],
        mentions=[(one + 1, said) for one, said in mentions.of(number, n, figure.caption)] if number else [],
        lang=figure.lang or page.lang,
        file=source,
        chapter=n + 1,
        figure=number,
    )
    sample.time = float(n + 1)
    return sample
