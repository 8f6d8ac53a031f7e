"""Makes PDFs and EPUBs for tests, by hand: what is in them is known to the point."""

import io
import zipfile
import zlib

import PIL.Image


def text(x, y, said, size=10):
    """A line of text whose first letter stands at (x, y) from the lower left corner.

    `said` is a text, or a list of signs: of a ligature all its letters, None of one that has no character.
    """
    return "text", x, y, size, said


def picture(x, y, width, height, data, **more):
    """A picture; `data` is a JPEG, which goes in as it is, or another, which goes in as pixels."""
    return "picture", x, y, width, height, data, more


def drawing(x, y, width, height):
    """A figure in lines."""
    return ("lines", x, y, width, height)


def write_pdf(path, pages, *, info=None, lang="", xmp="", rotate=0, size=(600, 800), toc=()):
    """Write a PDF of some pages, each a list of things on it."""
    objects, letters, held = [b"", b"", b""], {}, {}

    def add(body, data=None):
        if data is not None:
            body = body.replace(b"<<", b"<</Length %d " % len(data), 1) + b"\nstream\n" + data + b"\nendstream"
        objects.append(body)
        return len(objects)

    def code(char):
        return letters.setdefault(char, len(letters) + 1)

    kids = []
    for things in pages:
        drawn, names = [], []
        for kind, x, y, *rest in things:
            if kind == "text":
                shown = "".join(f"{code(char):02x}" for char in rest[1])
                drawn.append(f"BT /F {rest[0]} Tf {x} {y} Td <{shown}> Tj ET")
            elif kind == "lines":
                w, h = rest
                drawn.append(f"{x} {y} m {x + w} {y + h} l S {x} {y + h} m {x + w} {y} l S")
            else:
                w, h, data, more = rest
                same = held.get((data, more.get("pixels")))
                names.append(same or add(*_image(data, **more)))
                held[data, more.get("pixels")] = names[-1]
                mark = f"/Figure <</MCID {more['mark']}>> BDC " if "mark" in more else ""
                drawn.append(f"{mark}q {w} 0 0 {h} {x} {y} cm /I{names[-1]} Do Q{' EMC' if mark else ''}")
        content = add(b"<</Filter /FlateDecode>>", zlib.compress("\n".join(drawn).encode()))
        images = " ".join(f"/I{n} {n} 0 R" for n in names)
        kids.append(
            add(
                (
                    f"<</Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] /Rotate {rotate} /Contents "
                    f"{content} 0 R /StructParents 0 /Resources <</Font <</F 3 0 R>> /XObject <<{images}>>>>>>"
                ).encode()
            )
        )
    more = ""
    if xmp:
        more += f" /Metadata {add(b'<</Type /Metadata /Subtype /XML>>', xmp.encode())} 0 R"
    if lang:
        more += f" /Lang ({lang})"
    alts = [
        (kid, one[-1]) for kid, page in zip(kids, pages) for one in page if one[0] == "picture" and one[-1].get("alt")
    ]
    if alts:
        root = len(objects) + 1
        elements = " ".join(f"{root + 2 + n} 0 R" for n in range(len(alts)))
        add(f"<</Type /StructTreeRoot /K [{elements}] /ParentTree {root + 1} 0 R>>".encode())
        add(f"<</Nums [0 [{elements}]]>>".encode())
        for kid, said in alts:
            alt = ("\ufeff" + said["alt"]).encode("utf-16-be").hex()
            add(f"<</Type /StructElem /S /Figure /P {root} 0 R /Pg {kid} 0 R /K {said['mark']} /Alt <{alt}>>>".encode())
        more += f" /StructTreeRoot {root} 0 R /MarkInfo <</Marked true>>"
    if toc:
        first = len(objects) + 2
        add(f"<</Type /Outlines /First {first} 0 R /Last {first + len(toc) - 1} 0 R /Count {len(toc)}>>".encode())
        for n, (page, title) in enumerate(toc):
            after = f"/Next {first + n + 1} 0 R" if n + 1 < len(toc) else ""
            shown = ("\ufeff" + title).encode("utf-16-be").hex()
            add(f"<</Title <{shown}> /Parent {first - 1} 0 R {after} /Dest [{kids[page]} 0 R /Fit]>>".encode())
        more += f" /Outlines {first - 1} 0 R"
    named = {char: n for char, n in letters.items() if char is not None}
    pairs = "\n".join(f"<{n:02x}> <{char.encode('utf-16-be').hex()}>" for char, n in named.items())
    to_unicode = add(
        b"<<>>",
        f"/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <00> <ff> endcodespacerange\n"
        f"{len(named)} beginbfchar\n{pairs}\nendbfchar endcmap end".encode(),
    )
    widths = " ".join("500" for _ in range(256))
    objects[0] = f"<</Type /Catalog /Pages 2 0 R{more}>>".encode()
    objects[1] = f"<</Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{n} 0 R' for n in kids)}]>>".encode()
    objects[2] = (
        f"<</Type /Font /Subtype /TrueType /BaseFont /Helvetica /FirstChar 0 /LastChar 255 /Widths [{widths}] "
        f"/ToUnicode {to_unicode} 0 R>>"
    ).encode()
    about = "".join(
        f"/{name} <{(chr(0xFEFF) + value).encode('utf-16-be').hex()}>" for name, value in (info or {}).items()
    )
    about = add(f"<<{about}>>".encode())
    out, places = io.BytesIO(b"%PDF-1.7\n"), []
    out.seek(0, 2)
    for n, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (n, body))
    at = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(
        b"trailer\n<</Size %d /Root 1 0 R /Info %d 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, about, at)
    )
    path.write_bytes(out.getvalue())
    return path


def _image(data, pixels=None, **more):
    opened = PIL.Image.open(io.BytesIO(data))
    size = b"/Width %d /Height %d /BitsPerComponent 8" % (pixels or opened.size)
    head = b"<</Type /XObject /Subtype /Image %s /ColorSpace /DeviceRGB /Filter /%s>>"
    if opened.format == "JPEG":
        return head % (size, b"DCTDecode"), data
    body = bytes(3 * pixels[0] * pixels[1]) if pixels else opened.convert("RGB").tobytes()
    return head % (size, b"FlateDecode"), zlib.compress(body, 1)


def write_epub(path, chapters, files=(), *, title="", author="", rights="", lang="", more=()):
    """Write an EPUB.

    Args:
        chapters: name and bytes or text of each page, in reading order.
        files: name and bytes of pictures.
        more: name and bytes of what does not belong into its list.
    """
    said = {"title": title, "creator": author, "rights": rights, "language": lang}
    about = "".join(f"<dc:{name}>{value}</dc:{name}>" for name, value in said.items() if value)
    items = "".join(
        f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, (name, _) in enumerate(chapters)
    )
    order = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    opf = (
        f'<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/">{about}</metadata><manifest>{items}</manifest>'
        f"<spine>{order}</spine></package>"
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("OEBPS/book.opf", opf)
        for name, data in [*chapters, *files]:
            archive.writestr(f"OEBPS/{name}", data)
        for name, data in more:
            archive.writestr(name, data)
    return path
