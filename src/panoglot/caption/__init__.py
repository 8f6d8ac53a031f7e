"""Captioning methods, a file a method. Each registers itself; `panoglot.run.get_method` finds it by name."""

from panoglot.caption.describe import describe
from panoglot.caption.evidence import evidence
from panoglot.caption.label import label
from panoglot.caption.rank_and_fuse import rank_and_fuse

__all__ = ["describe", "evidence", "label", "rank_and_fuse"]
