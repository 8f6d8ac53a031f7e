"""SVG drawings: size from the root tag, pixels from resvg in a child process with limits on memory and time.

A drawing is a program of sorts: references that multiply, filters that fill memory, pictures from other files. So
nothing is rendered in this process, and every reference to anything outside the drawing is cut first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from panoglot.errors import RowError, require
from panoglot.pictures._guard import guarded

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["is_svg", "render_svg", "svg_size"]

#: Longest side that is rendered; a drawing without pixels of its own is rendered at this shorter side.
MOST, USUAL = 4096, 512
_HEAD = 2**20  # bytes in which the root tag must end

_NAME = re.compile(rb"<([\w:-]{1,80})(?=[\s/>])")
_ATTRIBUTE = re.compile(rb"""[\s]([\w:.-]{1,80})\s*+=\s*+(?:"([^"<]*+)"|'([^'<]*+)')""")
_LENGTH = re.compile(r"([0-9]{0,12}\.?[0-9]{1,20}(?:[eE][+-]?[0-9]{1,3})?)\s*(px|pt|pc|mm|cm|in|)")
_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_NUMBER = re.compile(r"-?(?:[0-9]{1,12}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,3})?")


def _root(data: bytes) -> tuple[bytes, int] | None:
    """The name of the first tag and where it begins, after declarations and comments; every byte is read once."""
    at = 0
    while (at := data.find(b"<", at, _HEAD)) >= 0:
        kind = data[at + 1 : at + 4]
        if kind == b"!--":
            at = data.find(b"-->", at + 4, _HEAD)
        elif kind[:1] == b"?":
            at = data.find(b"?>", at, _HEAD)
        elif kind[:1] == b"!":
            inner, end = data.find(b"[", at, _HEAD), data.find(b">", at, _HEAD)
            if 0 <= inner < end:  # a document type with entities of its own
                end = data.find(b"]", inner, _HEAD)
            at = end
        else:
            found = _NAME.match(data, at, _HEAD)
            return (found[1], at) if found else None
        if at < 0:
            return None
    return None


def is_svg(data: bytes) -> bool:
    """Say whether the bytes begin like an SVG drawing.

    >>> is_svg(b'<?xml version="1.0"?><!-- made by hand --><svg width="10"></svg>'), is_svg(b"<html><svg></svg>")
    (True, False)
    """
    if not data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return False
    root = _root(data)
    return root is not None and root[0].rpartition(b":")[2] == b"svg"


def svg_size(data: bytes) -> tuple[int, int]:
    """Return the drawing's width and height in CSS pixels, from its root tag.

    >>> svg_size(b'<svg width="1in" height="48" xmlns="x">'), svg_size(b'<svg viewBox="0 0 20 10">')
    ((96, 48), (20, 10))

    Raises:
        RowError: `bad_header`: no root tag or no sensible size.
    """
    root = _root(data)
    if root is None:
        raise RowError("bad_header", "no <svg> tag")
    said: dict[bytes, str] = {}
    at = root[1] + 1 + len(root[0])
    while found := _ATTRIBUTE.match(data, at, _HEAD) or _ATTRIBUTE.match(data, _blank(data, at), _HEAD):
        said.setdefault(found[1], (found[2] or found[3] or b"")[:200].decode("utf-8", "replace").strip())
        at = found.end()
    box = _box(said.get(b"viewBox", ""))
    sides: list[float | None] = []
    for name in (b"width", b"height"):
        length = _LENGTH.fullmatch(said.get(name, ""))
        sides.append(float(length[1]) * _PIXELS[length[2]] if length else None)
    width, height = sides
    if box is not None:
        if width is None and height is None:
            width, height = box
        elif width is None and height is not None:
            width = height * box[0] / box[1]
        elif height is None and width is not None:
            height = width * box[1] / box[0]
    if not width or not height or not (0 < width < 1e7 and 0 < height < 1e7):
        raise RowError("bad_header", f"a drawing of {width} x {height}")
    return max(1, round(width)), max(1, round(height))


def _blank(data: bytes, at: int) -> int:
    """The last of the blanks that begin at `at`."""
    while at + 1 < min(len(data), _HEAD) and data[at : at + 1].isspace() and data[at + 1 : at + 2].isspace():
        at += 1
    return at


def _box(view: str) -> tuple[float, float] | None:
    """Width and height of a view box."""
    numbers = [float(number) for number in _NUMBER.findall(view)]
    return (numbers[2], numbers[3]) if len(numbers) == 4 and numbers[2] > 0 and numbers[3] > 0 else None


def render_svg(data: bytes, min_side: int | None = None, *, white: bool = True) -> PIL.Image.Image:
    """Render over white (or as RGBA), with a shorter side of at least `min_side` (or 512) pixels if the shape allows.

    Raises:
        RowError: `undecodable`: no drawing; `decode_memory` or `decode_timeout`: one that needs too much of either.
    """
    require("resvg_py", "panoglot", "reading SVG drawings")
    width, height = svg_size(data)
    scale = min(max(min_side or USUAL, min(width, height)) / min(width, height), MOST / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    drawn: PIL.Image.Image = guarded("svg", data, width=size[0], height=size[1], white=white)
    return drawn
