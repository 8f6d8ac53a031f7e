"""The program that reads a PDF apart from its caller: one that crashes, or takes too long or too much, costs a page.

    python _pdf_program.py '{"path": …, "text_from": 0, "from": 0, …}'

It writes lines of JSON, each followed by as many bytes as its `size` says. First the document, then the texts of all
pages, then the figures of those that have any. `panoglot.formats._pdf_process` is the side that reads them.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import re
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import PIL.Image
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from panoglot.errors import RowError
from panoglot.formats._numbered import caption_number
from panoglot.formats._pdf_layout import Block, Box, Places, blocks_of, pair_captions
from panoglot.pictures import MAX_PIXELS

__all__ = ["main"]

_MOST_PICTURES = 200  # of a page
_MOST_ALTS = 10_000
_RENDERED = 40_000_000  # most pixels of a page that is rendered


def _limit(job: dict[str, Any]) -> None:
    """Limits on what the next step may take; none where the system knows none."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_AS, (job["bytes"], job["bytes"]))
        most = int(used.ru_utime + used.ru_stime + job["seconds"]) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Out:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def say(self, kind: str, data: bytes = b"", **facts: Any) -> None:
        self._file.write(json.dumps({"kind": kind, "size": len(data), **facts}).encode("ascii") + b"\n" + data)
        self._file.flush()


def main() -> None:
    """Read the file that the first argument names, by the options in it."""
    out = _Out(sys.stdout.buffer)
    sys.stdout = sys.stderr
    job = json.loads(sys.argv[1])
    _limit(job)
    try:
        document = pdfium.PdfDocument(job["path"])
        pages = len(document)
    except pdfium.PdfiumError as error:
        out.say("failed", locked=error.err_code == raw.FPDF_ERR_PASSWORD, message=str(error))
        return
    out.say("document", pages=pages, **_about(document))
    wanted = [n for n in job["wanted"] if n < pages]
    for n in range(job["text_from"], pages):
        _limit(job)
        facts = _read_text(document, n)
        out.say("text", page=n, **facts)
        if facts["figures"] or job["pages"] == "all":
            wanted.append(n)
    for n in wanted:
        if n < job["from"]:
            continue
        _limit(job)
        for kind, data, facts in _read_figures(document, n, job):
            out.say(kind, data, page=n, **facts)
    out.say("end")


def _about(document: Any) -> dict[str, Any]:
    """What a document says of itself."""
    with contextlib.suppress(pdfium.PdfiumError, ValueError):
        said = document.get_metadata_dict(skip_empty=True)
        language = _wide(lambda buffer, size: raw.FPDFCatalog_GetLanguage(document, buffer, size))
        sections: list[list[Any]] = []
        for mark in document.get_toc():
            place = mark.get_dest()
            if place is not None and len(sections) < 10_000:
                sections.append([place.get_index(), mark.get_title()[:500]])
        named = {"title": "Title", "author": "Author"}
        return {
            **{name: " ".join(said.get(key, "").split())[:1000] for name, key in named.items()},
            "lang": language[:50],
            "sections": [one for one in sections if isinstance(one[0], int)],
        }
    return {"title": "", "author": "", "lang": "", "sections": []}


def _wide(call: Any) -> str:
    """A text that PDFium writes in UTF-16 to a buffer."""
    size = call(None, 0)
    if not 2 < size < 2**20:
        return ""
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    call(buffer, size)
    return bytes(buffer)[: size - 2].decode("utf-16-le", "replace").strip("\0 ")


def _blocks(page: Any) -> tuple[Places, list[Block], int, int]:
    """Places and texts of a page, its characters, and those that the file does not name."""
    places = Places(page.get_bbox(), page.get_rotation())
    textpage = page.get_textpage()
    try:
        return places, *blocks_of(textpage, places, raw), textpage.count_chars()
    finally:
        textpage.close()


def _read_text(document: Any, n: int) -> dict[str, Any]:
    """The texts of a page, and whether there may be figures in it."""
    try:
        page = document[n]
        _, blocks, unknown, characters = _blocks(page)
        figures = any(block.number for block in blocks) or next(_images(page), None) is not None
        texts = [block.text for block in blocks]
        page.close()
    except pdfium.PdfiumError as error:
        return {"blocks": [], "unknown": 0, "characters": 0, "figures": False, "problem": str(error)}
    return {"blocks": texts, "unknown": unknown, "characters": characters, "figures": figures, "problem": ""}


def _images(page: Any) -> Iterator[Any]:
    return iter(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]))


def _read_figures(document: Any, n: int, job: dict[str, Any]) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """The pictures of a page with their captions; the page itself where a caption has no picture, or where asked."""
    done: dict[str, Any] = {"small": 0, "more": 0, "drawn": 0}
    try:
        page = document[n]
        places, blocks, *_ = _blocks(page)
        captions = [block for block in blocks if block.number]
        images: list[tuple[Any, Box]] = []
        for image in _images(page):
            if min(image.get_px_size()) < job["min_side"]:
                done["small"] += 1
            elif len(images) >= _MOST_PICTURES:
                done["more"] += 1
            else:
                images.append((image, places.box(*_bounds(image))))
        alts = _alts(page) if images else {}
        owners = pair_captions([box for _, box in images], [block.box for block in captions])
        for k, ((image, box), owner) in enumerate(zip(images, owners, strict=True)):
            facts = {"picture": k + 1, "box": places.share(box), "alt": "", **_caption(captions, owner)}
            facts["alt"] = alts.get(raw.FPDFPageObj_GetMarkedContentID(image), "")
            try:
                yield "figure", _encoded(image, page.get_rotation()), {**facts, "how": "embedded"}
            except RowError as error:
                yield "reject", b"", {"picture": k + 1, "reason": error.reason, "message": error.message}
        alone = [c for n, c in enumerate(captions) if n not in owners and _sure(c)]
        done["drawn"] = len(alone)
        if job["pages"] == "all" or (alone and job["pages"] == "drawn"):
            said = [{"number": block.number, "text": block.text} for block in alone]
            data, dpi = _rendered(page, job["dpi"])
            yield "figure", data, {"picture": 0, "box": [0, 0, 1, 1], "alt": "", "captions": said, "how": f"{dpi} dpi"}
        page.close()
    except pdfium.PdfiumError as error:
        yield "reject", b"", {"picture": 0, "reason": "bad_document", "message": str(error)}
    yield "done", b"", done


def _caption(captions: list[Block], owner: int | None) -> dict[str, Any]:
    found = [] if owner is None else [{"number": captions[owner].number, "text": captions[owner].text}]
    return {"captions": found}


def _sure(block: Block) -> bool:
    return caption_number(block.text, sure=True) is not None and not re.search(r"\.{4}|(?:\. ){4}", block.text)


def _bounds(image: Any) -> tuple[float, float, float, float]:
    """Where an image is on its page, through the forms that hold it."""
    left, bottom, right, top = image.get_bounds()
    corners = [(left, bottom), (right, top), (left, top), (right, bottom)]
    form = image.container
    while form is not None:
        matrix = form.get_matrix()
        corners = [matrix.on_point(x, y) for x, y in corners]
        form = form.container
    across, up = [x for x, _ in corners], [y for _, y in corners]
    return min(across), min(up), max(across), max(up)


def _encoded(image: Any, rotation: int) -> bytes:
    """An image as a file: a JPEG that stands upright as it is, all else as it is seen.

    Raises:
        RowError: `too_many_pixels`, `undecodable`.
    """
    width, height = image.get_px_size()
    if width * height > MAX_PIXELS:
        raise RowError("too_many_pixels", f"{width} x {height}")
    jpeg = image.get_filters(skip_simple=True) == ["DCTDecode"]
    a, b, c, d = image.get_matrix().get()[:4]
    upright = not rotation and a > 0 and d > 0 and abs(b) + abs(c) < 0.01 * (a + d)
    if jpeg and upright:
        data = bytes(image.get_data(decode_simple=True))
        if data.startswith(b"\xff\xd8\xff"):
            return data
    try:
        seen = image.get_bitmap(render=True).to_pil()
    except (pdfium.PdfiumError, ValueError) as error:
        raise RowError("undecodable", str(error)) from None
    if seen.mode in ("RGBA", "RGBX", "LA"):
        opaque = seen.mode == "RGBX" or seen.getchannel("A").getextrema() == (255, 255)
        seen = seen.convert("RGB") if opaque else seen
    if rotation:
        seen = seen.rotate(-rotation, expand=True)
    return _file(seen, "JPEG" if jpeg and seen.mode in ("RGB", "L") else "PNG")


def _file(picture: PIL.Image.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **({"quality": 95} if format == "JPEG" else {"compress_level": 3}))
    return buffer.getvalue()


def _rendered(page: Any, dpi: int) -> tuple[bytes, int]:
    """A page as a PNG, and at how many pixels an inch: fewer than asked for where it is huge."""
    width, height = page.get_size()
    scale = min(dpi / 72, (_RENDERED / max(width * height, 1.0)) ** 0.5)
    return _file(page.render(scale=scale).to_pil(), "PNG"), round(scale * 72)


def _alts(page: Any) -> dict[int, str]:
    """Alternative texts of a tagged page by the number of the content that they stand for."""
    tree = raw.FPDF_StructTree_GetForPage(page)
    if not tree:
        return {}
    found: dict[int, str] = {}
    count = min(raw.FPDF_StructTree_CountChildren(tree), _MOST_ALTS)
    waiting = [(raw.FPDF_StructTree_GetChildAtIndex(tree, k), "") for k in range(count)]
    seen = 0
    while waiting and seen < _MOST_ALTS:
        element, above = waiting.pop()
        seen += 1
        if not element:
            continue
        text = _wide(lambda buffer, size, one=element: raw.FPDF_StructElement_GetAltText(one, buffer, size)) or above
        for k in range(min(raw.FPDF_StructElement_GetMarkedContentIdCount(element), _MOST_ALTS) if text else 0):
            found.setdefault(raw.FPDF_StructElement_GetMarkedContentIdAtIndex(element, k), text)
        inner = min(raw.FPDF_StructElement_CountChildren(element), _MOST_ALTS)
        waiting += [(raw.FPDF_StructElement_GetChildAtIndex(element, k), text) for k in range(inner)]
    raw.FPDF_StructTree_Close(tree)
    return found


if __name__ == "__main__":
    main()
