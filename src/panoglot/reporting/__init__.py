"""What a person looks at: the HTML report of a dataset, and one image with the provenance of its texts."""

from panoglot.reporting._report import report
from panoglot.reporting._show import Shown, show

__all__ = [
    "Shown",
    "report",
    "show",
]
