"""Formats in and out, a file a format, and the picture itself.

for found in read_source("photos/"):         # or shards/{00000..00099}.tar, rows.parquet, x.pano, …
    ...                                      # a Sample, or a Reject with its reason
export("photos.pano", "out/", to="webdataset", langs=["de", "en"])
"""

from panoglot.exporting import EXPORT_FORMATS, export
from panoglot.formats._decoder import FORMATS, MAX_PIXELS
from panoglot.formats._formats import FORMAT_NAMES, detect, find_format, format_options, read_part, read_source
from panoglot.formats._sample import Format, Part, Sample
from panoglot.pictures import SUFFIXES, Header, Image, plain_jpeg, read_header

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
    "detect",
    "export",
    "find_format",
    "format_options",
    "plain_jpeg",
    "read_header",
    "read_part",
    "read_source",
]
