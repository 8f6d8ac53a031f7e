"""Captioning methods, a file a method. Each registers itself; `panoglot.running.get_method` finds it by name."""

from panoglot.captioning.describe import describe
from panoglot.captioning.evidence import evidence
from panoglot.captioning.fields import fields
from panoglot.captioning.label import label
from panoglot.captioning.panda_70m import panda_70m
from panoglot.captioning.rank_and_fuse import rank_and_fuse

__all__ = ["describe", "evidence", "fields", "label", "panda_70m", "rank_and_fuse"]
