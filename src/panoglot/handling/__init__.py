"""Whole datasets: what is in one (`info`), several as one, a part of one, parts that share nothing (`split`)."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.handling._info import Info, info
    from panoglot.handling._merge import Copied, merge, subset
    from panoglot.handling._plans import Plan, deal_by_shares, deal_evenly, mix, plan_languages, share_of_kinds
    from panoglot.handling._split import Division, split

__all__ = [
    "Copied",
    "Division",
    "Info",
    "Plan",
    "deal_by_shares",
    "deal_evenly",
    "info",
    "merge",
    "mix",
    "plan_languages",
    "share_of_kinds",
    "split",
    "subset",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Copied": "_merge",
        "Division": "_split",
        "Info": "_info",
        "Plan": "_plans",
        "deal_by_shares": "_plans",
        "deal_evenly": "_plans",
        "info": "_info",
        "merge": "_merge",
        "mix": "_plans",
        "plan_languages": "_plans",
        "share_of_kinds": "_plans",
        "split": "_split",
        "subset": "_merge",
    },
)
