"""What is kept, written for others: `export`."""

from panoglot.exporting._export import EXPORT_FORMATS, export

__all__ = [
    "EXPORT_FORMATS",
    "export",
]
