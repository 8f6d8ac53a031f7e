"""The picture itself: header, decoding, SVG, thumbnails, what goes to a server."""

from panoglot.pictures._encode import data_uri
from panoglot.pictures._image import FORMATS, MAX_BYTES, MAX_PIXELS, SUFFIXES, Header, Image, read_header
from panoglot.pictures._regions import decode_mask, draw_region, encode_mask, pixel_box
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
    "decode_mask",
    "draw_region",
    "encode_mask",
    "is_svg",
    "load_pictures",
    "pixel_box",
    "read_header",
    "render_svg",
    "svg_size",
]
