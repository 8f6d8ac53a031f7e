"""Formats in and out, a file a format.

for found in read_source("photos/"):         # or shards/{00000..00099}.tar, rows.parquet, x.pano, …
    ...                                      # a Sample, a Reject with its reason, or what was not used
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names
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

if TYPE_CHECKING:
    from panoglot.formats._download import is_public
    from panoglot.formats._layout import find_layout
    from panoglot.formats._names import (
        Role,
        bare_language,
        doubtful_role,
        is_running_text,
        label_role,
        pair_role,
        text_role,
    )
    from panoglot.formats._opt_out import OptOut
    from panoglot.formats._pairing import pair
    from panoglot.formats._record import captions_from, flat, restore, to_record
    from panoglot.formats._shots import chosen_frames, cut_shots
    from panoglot.formats._tar import TarFile
    from panoglot.formats._texts import Given

__all__ = [
    "FORMAT_NAMES",
    "Address",
    "Downloads",
    "Format",
    "Given",
    "Limits",
    "OptOut",
    "Part",
    "Role",
    "Sample",
    "TarFile",
    "Unused",
    "as_image",
    "bare_language",
    "captions_from",
    "chosen_frames",
    "counted_options",
    "covers",
    "cut_shots",
    "detect",
    "doubtful_role",
    "find_format",
    "find_layout",
    "flat",
    "format_names",
    "format_options",
    "hold",
    "is_given",
    "is_public",
    "is_running_text",
    "label_role",
    "load_format",
    "pair",
    "pair_role",
    "read_part",
    "read_source",
    "restore",
    "text_role",
    "to_record",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "is_public": "_download",
        "find_layout": "_layout",
        "Role": "_names",
        "bare_language": "_names",
        "doubtful_role": "_names",
        "is_running_text": "_names",
        "label_role": "_names",
        "pair_role": "_names",
        "text_role": "_names",
        "OptOut": "_opt_out",
        "pair": "_pairing",
        "captions_from": "_record",
        "flat": "_record",
        "restore": "_record",
        "to_record": "_record",
        "chosen_frames": "_shots",
        "cut_shots": "_shots",
        "TarFile": "_tar",
        "Given": "_texts",
    },
)
