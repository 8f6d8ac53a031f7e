"""What a person looks at: the HTML report of a dataset, and one image with the provenance of its texts."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names
from panoglot.reporting._report import report
from panoglot.reporting._show import Shown, show

if TYPE_CHECKING:
    from panoglot.reporting._compare import Column, scored
    from panoglot.reporting._counts import EDGES, count
    from panoglot.reporting._page import gather
    from panoglot.reporting._runs import read_runs
    from panoglot.reporting._sample import choose_images

__all__ = [
    "EDGES",
    "Column",
    "Shown",
    "choose_images",
    "count",
    "gather",
    "read_runs",
    "report",
    "scored",
    "show",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "scored": "_compare",
        "Column": "_compare",
        "EDGES": "_counts",
        "count": "_counts",
        "gather": "_page",
        "read_runs": "_runs",
        "choose_images": "_sample",
    },
)
