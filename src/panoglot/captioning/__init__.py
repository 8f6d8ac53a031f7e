"""Captioning methods, a file a method. Each registers itself; `panoglot.running.get_method` finds it by name."""

from panoglot.captioning.capsfusion import capsfusion
from panoglot.captioning.densefusion import densefusion
from panoglot.captioning.describe import describe
from panoglot.captioning.evidence import evidence
from panoglot.captioning.fusecap import fusecap
from panoglot.captioning.image_textualization import image_textualization
from panoglot.captioning.label import label
from panoglot.captioning.patch_matters import patch_matters
from panoglot.captioning.rank_and_fuse import rank_and_fuse
from panoglot.captioning.scalecap import scalecap

__all__ = [
    "capsfusion",
    "densefusion",
    "describe",
    "evidence",
    "fusecap",
    "image_textualization",
    "label",
    "patch_matters",
    "rank_and_fuse",
    "scalecap",
]
