"""What is kept, written for others: `export`, `push`."""

from typing import TYPE_CHECKING

from panoglot.exporting._export import export
from panoglot.exporting._push import Pushed, push
from panoglot.exporting._writers import EXPORT_FORMATS, writer_names
from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.exporting._export import CARD, MANIFEST

__all__ = [
    "CARD",
    "EXPORT_FORMATS",
    "MANIFEST",
    "Pushed",
    "export",
    "push",
    "writer_names",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "MANIFEST": "_export",
        "CARD": "_export",
    },
)
