"""Formats in and out, a file a format, and the picture itself."""

from panoglot.io._image import FORMATS, MAX_PIXELS, SUFFIXES, Header, Image, read_header

__all__ = ["FORMATS", "MAX_PIXELS", "SUFFIXES", "Header", "Image", "read_header"]
