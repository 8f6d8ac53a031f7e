"""SVG drawings: size from the root tag, pixels from resvg in a child process with limits on memory and time.

A drawing is a program of sorts: references that multiply, filters that fill memory, pictures from other files. So
nothing is rendered in this process, and every reference to anything outside the drawing is cut first.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from panoglot.errors import RowError, require

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["is_svg", "render_svg", "svg_size"]

#: Longest side that is rendered; a drawing without pixels of its own is rendered at this shorter side.
MOST, USUAL = 4096, 512
_SECONDS, _BYTES = 10, 2 * 2**30

_COMMENT = re.compile(rb"<!--.*?-->", re.S)
_ROOT = re.compile(rb"<(?:[\w-]+:)?svg\b[^>]*>", re.S)
_LENGTH = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(px|pt|pc|mm|cm|in|)\s*$")
_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_HREF = re.compile(rb"""(href\s*=\s*)(["'])(?!\s*#|\s*data:)[^"']*\2""", re.I)
_URL = re.compile(rb"""(url\(\s*["']?)(?!\s*#|\s*data:)[^)]*\)|@import[^;]*;""", re.I)

_CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({bytes}, {bytes}))
resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import resvg_py
text = sys.stdin.buffer.read().decode("utf-8", "replace")
png = resvg_py.svg_to_bytes(svg_string=text, width={width}, height={height}, background={background}, dpi=96.0)
sys.stdout.buffer.write(bytes(png))
"""


def is_svg(data: bytes) -> bool:
    """Say whether the bytes begin like an SVG drawing.

    >>> is_svg(b'<?xml version="1.0"?><!-- made by hand --><svg width="10"></svg>'), is_svg(b"<html><svg></svg>")
    (True, False)
    """
    head = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head.startswith(b"<"):
        return False
    first = re.search(rb"<(?![?!])\s*([\w:-]+)", re.sub(rb"<!--.*?(-->|$)", b"", head, flags=re.S))
    return first is not None and first.group(1).rpartition(b":")[2] == b"svg"


def svg_size(data: bytes) -> tuple[int, int]:
    """Return the drawing's width and height in CSS pixels, from its root tag.

    >>> svg_size(b'<svg width="1in" height="48" xmlns="x">'), svg_size(b'<svg viewBox="0 0 20 10">')
    ((96, 48), (20, 10))

    Raises:
        RowError: `bad_header`: no root tag or no sensible size.
    """
    found = _ROOT.search(_COMMENT.sub(b"", data[: 256 * 1024]))
    if found is None:
        raise RowError("bad_header", "no <svg> tag")
    root = found.group().decode("utf-8", "replace")
    view = re.search(r"""viewBox\s*=\s*["']([^"']*)""", root)
    box = [float(v) for v in re.findall(r"-?[0-9.]+(?:[eE][+-]?[0-9]+)?", view.group(1))] if view else []
    sides: list[float | None] = []
    for name in ("width", "height"):
        given = re.search(rf"""\s{name}\s*=\s*["']([^"']*)""", root)
        length = _LENGTH.match(given.group(1)) if given else None
        sides.append(float(length.group(1)) * _PIXELS[length.group(2)] if length else None)
    width, height = sides
    if len(box) == 4 and box[2] > 0 and box[3] > 0:
        if width is None and height is None:
            width, height = box[2], box[3]
        elif width is None and height is not None:
            width = height * box[2] / box[3]
        elif height is None and width is not None:
            height = width * box[3] / box[2]
    if not width or not height or not (0 < width < 1e7 and 0 < height < 1e7):
        raise RowError("bad_header", f"a drawing of {width} x {height}")
    return max(1, round(width)), max(1, round(height))


def render_svg(data: bytes, min_side: int | None = None, *, white: bool = True) -> PIL.Image.Image:
    """Render over white (or as RGBA), with a shorter side of at least `min_side` (or 512) pixels if the shape allows.

    Raises:
        RowError: `undecodable`: no drawing, or one that needs too much memory or time.
    """
    import PIL.Image

    require("resvg_py", "panoglot", "reading SVG drawings")
    width, height = svg_size(data)
    scale = min(max(min_side or USUAL, min(width, height)) / min(width, height), MOST / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    code = _CHILD.format(
        bytes=_BYTES, seconds=_SECONDS, width=size[0], height=size[1], background="'#fff'" if white else "None"
    )
    safe = _URL.sub(b"none", _HREF.sub(rb'\1""', data))
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", code],
            input=safe,
            capture_output=True,
            timeout=3 * _SECONDS,
            start_new_session=True,  # Ctrl-C is for the run: a drawing on its way is no bad drawing
        )
    except subprocess.TimeoutExpired:
        raise RowError("undecodable", "the drawing takes too long") from None
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        raise RowError("undecodable", last or f"the renderer ended with {done.returncode}")
    return PIL.Image.open(io.BytesIO(done.stdout), formats=("PNG",)).convert("RGB" if white else "RGBA")
