"""The picture itself: header, decoding, SVG, thumbnails, what goes to a server."""

from panoglot.pictures._encode import data_uri
from panoglot.pictures._image import FORMATS, MAX_BYTES, MAX_PIXELS, SUFFIXES, Header, Image, read_header
from panoglot.pictures._svg import is_svg, render_svg, svg_size
from panoglot.pictures._thumbnail import Picture, load_pictures

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "Header",
    "Image",
    "Picture",
    "data_uri",
    "is_svg",
    "load_pictures",
    "read_header",
    "render_svg",
    "svg_size",
]
