"""What is kept, written for others: `export`."""

from panoglot.exporting._export import export
from panoglot.exporting._writers import EXPORT_FORMATS, writer_names

__all__ = [
    "EXPORT_FORMATS",
    "export",
    "writer_names",
]
