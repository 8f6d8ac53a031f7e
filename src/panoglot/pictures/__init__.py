"""The picture itself: header, decoding, SVG, thumbnails, what goes to a server."""

from panoglot.pictures._decoder import FORMATS, MAX_BYTES, MAX_PIXELS, has_heif
from panoglot.pictures._encode import data_uri
from panoglot.pictures._fit import fit_shorter
from panoglot.pictures._image import SUFFIXES, Header, Image, plain_jpeg, read_header
from panoglot.pictures._metadata import Metadata, read_metadata
from panoglot.pictures._parse import may_be_picture
from panoglot.pictures._private import without_metadata, without_private
from panoglot.pictures._regions import decode_mask, draw_region, encode_mask, highlight_region, pixel_box
from panoglot.pictures._svg import is_svg, render_svg, svg_size
from panoglot.pictures._thumbnail import Picture, load_pictures

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "Header",
    "Image",
    "Metadata",
    "Picture",
    "data_uri",
    "decode_mask",
    "draw_region",
    "encode_mask",
    "fit_shorter",
    "has_heif",
    "highlight_region",
    "is_svg",
    "load_pictures",
    "may_be_picture",
    "pixel_box",
    "plain_jpeg",
    "read_header",
    "read_metadata",
    "render_svg",
    "svg_size",
    "without_metadata",
    "without_private",
]
