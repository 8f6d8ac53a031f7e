"""Formats in and out, a file a format, and the picture itself.

for found in read_source("photos/"):         # or shards/{00000..00099}.tar, rows.parquet, x.pano, …
    ...                                      # a Sample, a Reject with its reason, or what was not used
export("photos.pano", "out/", to="webdataset", langs=["de", "en"])
"""

from panoglot.exporting import EXPORT_FORMATS, export
from panoglot.formats._formats import (
    FORMAT_NAMES,
    covers,
    detect,
    find_format,
    format_options,
    read_part,
    read_source,
)
from panoglot.formats._sample import Format, Part, Sample, Unused
from panoglot.pictures import FORMATS, MAX_PIXELS, SUFFIXES, Header, Image, read_header

__all__ = [
    "EXPORT_FORMATS",
    "FORMATS",
    "FORMAT_NAMES",
    "MAX_PIXELS",
    "SUFFIXES",
    "Format",
    "Header",
    "Image",
    "Part",
    "Sample",
    "Unused",
    "covers",
    "detect",
    "export",
    "find_format",
    "format_options",
    "read_header",
    "read_part",
    "read_source",
]
