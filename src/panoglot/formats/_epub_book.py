"""An EPUB as a zip of pages: its description, its chapters in reading order, its files; no name leads out of it."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from panoglot.errors import RowError
from panoglot.pictures import MAX_BYTES, SUFFIXES

__all__ = ["Book", "joined"]

_CONTAINER, _OPF, _DC = (
    "{urn:oasis:names:tc:opendocument:xmlns:container}",
    "{http://www.idpf.org/2007/opf}",
    "{http://purl.org/dc/elements/1.1/}",
)
_LOCK = "{http://www.w3.org/2001/04/xmlenc#}"
#: Fonts are made unreadable by these; they keep nobody from reading.
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_LONGEST = 16 * 2**20  # bytes of a page or description
_MOST_FILES, _MOST_INFLATED = 100_000, 2**30  # files of a book, bytes of all its pages
#: What `zipfile` raises on what is broken, cut or hostile.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
)


@dataclass
class Book:
    """A book that is open.

    Attributes:
        title: what it is called.
        author: who wrote it, several with commas.
        licence: its rights.
        lang: its language as it writes it.
        chapters: its pages in reading order.
        locked: files that are encrypted.
    """

    archive: zipfile.ZipFile
    title: str = ""
    author: str = ""
    licence: str = ""
    lang: str = ""
    chapters: list[str] = field(default_factory=list)
    locked: set[str] = field(default_factory=set)
    _inflated: int = 0

    @classmethod
    def of(cls, file: IO[bytes]) -> Book:
        """Read its description.

        Raises:
            RowError: `bad_archive`, `bad_document`, `encrypted`, `too_many_bytes`.
        """
        try:
            book = cls(zipfile.ZipFile(file))
        except _BROKEN as error:
            raise RowError("bad_archive", f"no zip, or its end is missing: {error}") from None
        if len(book.archive.namelist()) > _MOST_FILES:
            raise RowError("too_many_bytes", f"more than {_MOST_FILES:,} files")
        book.locked = set(book._locked())
        roots = [
            one.get("full-path") or "" for one in book._xml("META-INF/container.xml").iter(f"{_CONTAINER}rootfile")
        ]
        if not roots:
            raise RowError("bad_document", "META-INF/container.xml names no book")
        book._describe(unquote(roots[0]))
        if book.chapters and book.locked >= set(book.chapters):
            raise RowError("encrypted", "its chapters are under DRM; only its shop's reader opens it")
        return book

    def _locked(self) -> Iterator[str]:
        if "META-INF/encryption.xml" not in self.archive.NameToInfo:
            return
        for one in self._xml("META-INF/encryption.xml").iter(f"{_LOCK}EncryptedData"):
            method = one.find(f"{_LOCK}EncryptionMethod")
            if method is None or method.get("Algorithm") not in _FONTS:
                yield from (unquote(name.get("URI") or "") for name in one.iter(f"{_LOCK}CipherReference"))

    def _describe(self, path: str) -> None:
        tree = self._xml(path)

        def said(name: str) -> list[str]:
            texts = (" ".join("".join(one.itertext()).split()) for one in tree.iter(f"{_DC}{name}"))
            return [text[:500] for text in texts if text]

        self.title, self.lang = next(iter(said("title")), ""), next(iter(said("language")), "")
        self.author, self.licence = ", ".join(said("creator"))[:1000], next(iter(said("rights")), "")
        names = {one.get("id"): one.get("href") or "" for one in tree.iter(f"{_OPF}item")}
        order = [names.get(one.get("idref"), "") for one in tree.iter(f"{_OPF}itemref")]
        self.chapters = list(dict.fromkeys(found for name in order if name and (found := joined(path, name))))

    def _xml(self, name: str) -> Any:
        from defusedxml import ElementTree

        data = self.read(name, _LONGEST)
        try:
            return ElementTree.fromstring(data)
        except Exception as error:  # entities, bombs, what is no XML
            raise RowError(
                "bad_document", f"{name}: {' '.join(str(error).split())[:200] or type(error).__name__}"
            ) from None

    def pictures(self) -> list[str]:
        """The names of its pictures."""
        return [name for name in self.archive.namelist() if name.lower().endswith(tuple(SUFFIXES))]

    def page(self, name: str) -> bytes:
        """The bytes of a chapter.

        Raises:
            RowError: as `read`; `too_many_bytes` where all pages together are too long.
        """
        data = self.read(name, _LONGEST)
        self._inflated += len(data)
        if self._inflated > _MOST_INFLATED:
            raise RowError("too_many_bytes", f"its pages are more than {_MOST_INFLATED:,} bytes")
        return data

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """The bytes of a file of the book; what it says of its size is not believed.

        Raises:
            RowError: `missing_file`, `encrypted`, `too_many_bytes`, `truncated_archive`.
        """
        if name in self.locked:
            raise RowError("encrypted", f"{name[:200]} is under DRM")
        info = self.archive.NameToInfo.get(name)
        if info is None:
            raise RowError("missing_file", f"{name[:200]} is not in the book")
        if info.flag_bits & 1:
            raise RowError("encrypted", f"{name[:200]} needs a password")
        try:
            with self.archive.open(info) as file:
                data = file.read(limit + 1)
        except _BROKEN as error:
            raise RowError("truncated_archive", f"{name[:200]}: {error}") from None
        if len(data) > limit:
            raise RowError("too_many_bytes", f"{name[:200]}: the limit is {limit:,}")
        return data


def joined(page: str, address: str) -> str:
    """The name of a file of a book that a page of it gives, or empty where it leads out of it.

    >>> joined("OEBPS/text/1.xhtml", "../images/a%20b.png#x"), joined("1.xhtml", "../x.png"), joined("1.xhtml", "http://x/y")
    ('OEBPS/images/a b.png', '', '')
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if parts.scheme or parts.netloc or not parts.path:
        return ""
    name = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path)))
    return "" if name.startswith(("../", "/")) or name == ".." else name
