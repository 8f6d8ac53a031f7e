"""Formats in and out, a file a format.

for found in read_source("photos/"):         # or shards/{00000..00099}.tar, rows.parquet, x.pano, …
    ...                                      # a Sample, a Reject with its reason, or what was not used
"""

from panoglot.formats._download import Downloads, Limits
from panoglot.formats._formats import (
    FORMAT_NAMES,
    counted_options,
    covers,
    detect,
    find_format,
    format_names,
    format_options,
    load_format,
    read_part,
    read_source,
)
from panoglot.formats._given import as_image, hold, is_given
from panoglot.formats._sample import Address, Format, Part, Sample, Unused

__all__ = [
    "FORMAT_NAMES",
    "Address",
    "Downloads",
    "Format",
    "Limits",
    "Part",
    "Sample",
    "Unused",
    "as_image",
    "counted_options",
    "covers",
    "detect",
    "find_format",
    "format_names",
    "format_options",
    "hold",
    "is_given",
    "load_format",
    "read_part",
    "read_source",
]
