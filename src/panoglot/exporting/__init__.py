"""What is kept, written for others: `export`, `push`."""

from panoglot.exporting._export import export
from panoglot.exporting._push import Pushed, push
from panoglot.exporting._writers import EXPORT_FORMATS, writer_names

__all__ = [
    "EXPORT_FORMATS",
    "Pushed",
    "export",
    "push",
    "writer_names",
]
