"""Whole datasets: what is in one (`info`), several as one, a part of one, parts that share nothing (`split`)."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.handling._info import Info, info
    from panoglot.handling._merge import Copied, merge, subset
    from panoglot.handling._split import Division, split

__all__ = ["Copied", "Division", "Info", "info", "merge", "split", "subset"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Copied": "_merge",
        "Division": "_split",
        "Info": "_info",
        "info": "_info",
        "merge": "_merge",
        "split": "_split",
        "subset": "_merge",
    },
)
