"""Web pages of a source: HTML files, folders of them, and WARC; parsed, with what they say of themselves."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from panoglot.errors import RowError, UserError, require
from panoglot.formats._charsets import page_text
from panoglot.formats._files import PAGES, WARCS, check_regular, inside, is_hidden, join_uri, read_bytes, reject
from panoglot.formats._inflate import inflated
from panoglot.formats._names import bare_language
from panoglot.formats._robots import check_headers
from panoglot.formats._sample import Part, Unused
from panoglot.languages._tags import parse_language
from panoglot.pictures import MAX_BYTES
from panoglot.table import Reject

__all__ = [
    "Page",
    "Pictures",
    "batches_of",
    "check_source",
    "files_of",
    "pages_of",
    "things_of",
    "words",
]

T = TypeVar("T")

_LONGEST = 16 * 2**20  # bytes of a page
_MOST = 10_000  # things of a page
_BATCH = 50  # pages of a part
_LINE = 2**16  # bytes of a line of a WARC's header
_MOST_LAST = 2**30  # bytes of a WARC's last record that are counted, to see whether it is whole
_MOST_UNPACKED = 64 * 2**30  # bytes of a WARC that is packed as one


def files_of(source: str) -> list[str]:
    """The pages and WARC files of a source, sorted."""
    if not os.path.isdir(source):
        return [source]
    found = []
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        found += [os.path.join(folder, n) for n in sorted(names) if n.lower().endswith(PAGES + WARCS)]
    return found


@dataclass
class Page:
    """A page, parsed.

    Attributes:
        uri: where it was found, for people.
        url: its address; empty for a file.
        tree: the root element (lxml).
        lang: the language that it says it is in, or None.
    """

    uri: str
    url: str
    tree: Any
    lang: str | None = None

    @classmethod
    def of(cls, raw: bytes, uri: str, url: str = "", charset: str = "") -> Page:
        """Parse a page.

        Raises:
            RowError: `bad_html`, `too_many_bytes`.
        """
        html = require("lxml.html", "panoglot[pages]", "reading pages")
        if len(raw) > _LONGEST:
            raise RowError("too_many_bytes", f"a page of {len(raw):,} bytes, the limit is {_LONGEST:,}")
        text = re.sub(r"^\s*<\?xml[^>]*\?>", "", page_text(raw, charset, _placed(url, uri))).replace("\0", "")
        parser = html.HTMLParser(huge_tree=False, no_network=True)
        try:
            tree = html.document_fromstring(text, parser=parser)
        except Exception as error:
            raise RowError("bad_html", " ".join(str(error).split())[:200] or "no page") from None
        # where it gives up, the parser keeps what came before and raises nothing
        if cut := next((one for one in parser.error_log if one.type_name == "ERR_RESOURCE_LIMIT"), None):
            raise RowError("bad_html", f"nested too deeply or too long a value, line {cut.line}")
        page = cls(uri, url, tree)
        page.lang = _language(page)
        return page

    def link(self, address: str) -> str:
        """An address of the page as it stands: absolute where the page has an address, else a path beside it."""
        return urldefrag(urljoin(self.url, address.strip()))[0] if self.url else address.strip()

    def licence(self) -> str:
        """The licence that the page states, or empty."""
        for link in self.tree.iter("link", "a"):
            if "license" in (link.get("rel") or "").lower().split() and link.get("href"):
                return str(self.link(link.get("href")))[:500]
        for meta in self.tree.iter("meta"):
            if (meta.get("name") or "").lower() in ("dcterms.license", "dc.rights", "dcterms.rights", "copyright"):
                return words(meta.get("content") or "")[:500]
        return ""


def words(text: Any) -> str:
    """The text of an element or a text, on one line.

    >>> words("  a \\n\\t b ")
    'a b'
    """
    return " ".join((text if isinstance(text, str) else str(text.text_content())).split())


def _language(page: Page) -> str | None:
    """What a page says of its language: its root, its head, its host (de.wikipedia.org), its folder (`de/`)."""
    root = page.tree
    said = [root.get("lang"), root.get("xml:lang"), root.get("{http://www.w3.org/XML/1998/namespace}lang")]
    body = root.find("body")
    said += [body.get("lang")] if body is not None else []
    for meta in root.iter("meta"):
        if (meta.get("http-equiv") or "").lower() == "content-language" or meta.get("property") == "og:locale":
            said.append((meta.get("content") or "").partition(",")[0])
    address = page.url
    for link in root.iter("link"):
        if (link.get("rel") or "").lower() == "canonical":
            address = link.get("href") or address
    for tag in said:
        if tag and (found := parse_language(tag.strip())) and found != "und":
            return found
    return _placed(address, page.uri)


def _placed(url: str, uri: str) -> str | None:
    """The language that the place of a page says: its host, else its folder."""
    try:
        host = urlsplit(url).hostname or "" if "://" in url else ""
    except ValueError:
        host = ""
    if host.endswith((".wikipedia.org", ".wikivoyage.org", ".wiktionary.org")):
        found = parse_language(host.partition(".")[0])
        if found and found != "und":
            return found
    folder = os.path.basename(os.path.dirname(uri.partition("#")[0]))
    return bare_language(folder) if len(folder) != 3 else None


@dataclass
class Pictures:
    """The pictures of the pages of a file: in its WARC, or beside it.

    Attributes:
        path: the page or WARC.
        root: pictures beside pages lie in this folder.
        places: address of a picture in the WARC: where its record begins.
        unpacked: the content of a WARC that was packed as one, whose records have no places of their own; or empty.
    """

    path: str
    root: str
    places: dict[str, int] = field(default_factory=dict)
    unpacked: str = ""

    def open(self) -> Any:
        """The WARC."""
        return open(self.unpacked or self.path, "rb")

    def find(self, address: str, url: str) -> bytes | None:
        """The bytes of a picture; None where it is on the web alone.

        Raises:
            RowError: it should be here, and cannot be read.
        """
        key = _key(address)
        if key in self.places:
            for start in dict.fromkeys((self.places[key], 0)):
                with self.open() as file, contextlib.suppress(OSError, ValueError, EOFError):
                    file.seek(start)
                    for there, kind, record in _records(file):
                        if _key(there) == key and kind.startswith("image/"):
                            return _body(record, MAX_BYTES)
            raise RowError("missing_file", f"{address[:200]} is no longer in {join_uri(self.path)}")
        if url or "://" in address or address.startswith("//"):
            return None
        name = unquote(urlsplit(address).path)
        there = os.path.join(os.path.dirname(self.path), name.lstrip("/") if name.startswith("/") else name)
        if not os.path.isfile(there) and name.startswith("/"):
            there = os.path.join(self.root, name.lstrip("/"))
        return read_bytes(inside(self.root, there))


def _key(address: str) -> str:
    """An address as it is compared: percent-encoding and http or https do not matter."""
    return re.sub(r"^https?:", "", unquote(urldefrag(address)[0]))


def things_of(
    part: Part, find: Callable[[Page], list[T]], none: str
) -> Iterator[tuple[Page, Pictures, list[T]] | Reject | Unused]:
    """What a format finds in the pages of a part, a page at a time; what cannot be read, and pages without any.

    Args:
        part: its `paths` and `root` as `pages_of` takes them.
        find: what is looked for in a page.
        none: what to call pages without it, `page{s} of no product`.
    """
    for one in pages_of(part.items["paths"], part.items["root"]):
        if isinstance(one, Reject):
            yield one
        elif found := find(one[0]):
            if len(found) > _MOST:
                yield Unused(
                    part.uri, f"thing{{s}} of a page after its first {_MOST:,}", (one[0].uri,), len(found) - _MOST
                )
            yield *one, found[:_MOST]
        else:
            yield Unused(part.uri, none, (one[0].uri,))


def pages_of(paths: Iterable[str], root: str) -> Iterator[tuple[Page, Pictures] | Reject]:
    """The pages of files with their pictures, and what cannot be read of them.

    Args:
        paths: pages and WARC files.
        root: the folder that pictures may lie in.
    """
    for path in paths:
        uri, pictures = join_uri(path), Pictures(path, root)
        try:
            if not path.lower().endswith(WARCS):
                yield Page.of(read_bytes(path, _LONGEST), uri), pictures
                continue
            check_regular(path)
        except RowError as error:
            yield reject(uri, error.reason, error.message)
            continue
        said = False  # that it breaks off, of the page that is cut
        for n, (url, record) in enumerate(_responses(path, pictures)):
            if isinstance(record, RowError):
                if not said:
                    yield reject(f"{uri}#{url or n}", record.reason, record.message)
                continue
            try:
                check_headers([(k.encode(), v.encode()) for k, v in record.http_headers])
                page = Page.of(_body(record, _LONGEST), f"{uri}#{url[:500]}", url, record.http_charset or "")
            except RowError as error:
                said = error.reason == "truncated_archive"
                yield reject(f"{uri}#{url[:500]}", error.reason, error.message)
                continue
            yield page, pictures


def _responses(path: str, pictures: Pictures) -> Iterator[tuple[str, Any]]:
    """The pages of a WARC; its pictures are noted in a pass before. Where it breaks off is said, what came before is read.

    Yields:
        (address, record), or ("", why it cannot be read on).
    """  # noqa: E501
    with tempfile.TemporaryDirectory(prefix="panoglot-warc-") as room:
        problem = _gather(pictures, room)
        try:
            with pictures.open() as file:
                for url, kind, record in _records(file):
                    if kind in ("text/html", "application/xhtml+xml"):
                        yield url, record
        except (OSError, ValueError, EOFError) as error:
            problem = " ".join(str(error).split())[:200]
        if problem:
            yield "", RowError("truncated_archive", f"{problem}; what came before is read")


def _gather(pictures: Pictures, room: str) -> str:
    """Note where the pictures of a WARC are; where it is packed as one, its content is written into a folder first.

    Otherwise every picture would be looked for from the beginning, in time that grows with their number squared.

    Returns:
        What of it cannot be unpacked, or empty.
    """
    last, problem = -1, ""
    with contextlib.suppress(OSError, ValueError, EOFError), pictures.open() as file:  # said when the pages are read
        for url, kind, record in _records(file):
            if record.stream_pos == last and not pictures.unpacked:
                break
            last = record.stream_pos
            if kind.startswith("image/"):
                pictures.places.setdefault(_key(url), record.stream_pos)  # what is cut comes last
        else:
            return _cut(pictures, max(0, last))
        pictures.places.clear()
        pictures.unpacked, problem = _unpacked(pictures.path, room)
        if pictures.unpacked:
            problem = _gather(pictures, room) or problem
    return problem


def _cut(pictures: Pictures, start: int) -> str:
    """Say whether the records from one on end too early: the reader of WARC passes over that in silence."""
    with pictures.open() as packed:
        packed.seek(start)
        zipped = packed.read(2) == b"\x1f\x8b"
        packed.seek(start)
        source = gzip.GzipFile(fileobj=packed) if zipped else packed
        try:
            while line := source.readline(_LINE).strip() or source.readline(_LINE).strip():
                if not line.startswith(b"WARC/"):
                    return f"what stands at its end is no record of WARC: {line[:40]!r}"
                length = 0
                while line := source.readline(_LINE).strip():
                    name, _, value = line.partition(b":")
                    length = max(0, int(value)) if name.strip().lower() == b"content-length" else length
                read = 0
                while length and (piece := source.read(min(length, 2**20))):
                    length, read = length - len(piece), read + len(piece)
                    if read > _MOST_LAST:
                        return ""  # to read on would cost more than it tells
                if length:
                    return f"its last record lacks {length:,} bytes"
                source.readline(_LINE)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            return str(error)
    return ""


def _unpacked(path: str, room: str) -> tuple[str, str]:
    """The content of a gzipped file, in a file of a folder; and what of it cannot be read."""
    there, problem = os.path.join(room, "content.warc"), ""
    try:
        with open(path, "rb") as packed, open(there, "wb") as file:
            if packed.read(2) != b"\x1f\x8b":
                return "", ""
            packed.seek(0)
            source = inflated(packed)
            try:
                while (piece := source.read1()) and file.tell() <= _MOST_UNPACKED:
                    file.write(piece)
            except (EOFError, zlib.error) as error:
                problem = str(error)
    except OSError:  # no room for it: it is read as it is
        return "", ""
    return there, problem if os.path.getsize(there) <= _MOST_UNPACKED else f"more than {_MOST_UNPACKED:,} bytes"


def _records(file: Any) -> Iterator[tuple[str, str, Any]]:
    """Address, media type and record of every answer that holds something."""
    warc = require("fastwarc.warc", "panoglot[pages]", "reading WARC")
    kinds = warc.WarcRecordType.response | warc.WarcRecordType.resource
    for record in warc.ArchiveIterator(file, record_types=kinds, parse_http=True, max_header_len=2**16):
        if record.http_headers is not None and (record.http_headers.status_code or 200) == 200:
            url = str(record.headers.get("WARC-Target-URI") or "").strip("<> ")
            yield url, (record.http_content_type or "").lower(), record


def _body(record: Any, most: int) -> bytes:
    length = record.content_length
    raw: bytes = record.reader.read(most + 1)
    if len(raw) > most:
        raise RowError("too_many_bytes", f"the limit is {most:,}")
    if len(raw) < length:
        raise RowError("truncated_archive", f"{len(raw):,} of {length:,} bytes; what came before is read")
    stated = record.http_headers.get("Content-Length") if record.http_headers else None
    if stated and stated.isdigit() and len(raw) < int(stated) and not record.http_headers.get("Content-Encoding"):
        raise RowError("truncated_archive", f"{len(raw):,} of {int(stated):,} bytes")
    return raw


def batches_of(files: Sequence[str]) -> Iterator[list[str]]:
    """Files that are read as one part: a WARC alone, pages in tens."""
    batch: list[str] = []
    for path in files:
        if path.lower().endswith(WARCS):
            yield [path]
        else:
            batch.append(path)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def check_source(source: str, files: Sequence[str]) -> None:
    """Raise `UserError` where a source has no page."""
    if not files or (not os.path.isdir(source) and not source.lower().endswith(PAGES + WARCS)):
        raise UserError(f"'{source}' has no pages: give .html or .warc.gz files, or a folder with some.")
