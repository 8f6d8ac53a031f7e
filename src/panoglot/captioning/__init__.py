"""Captioning methods, a file a method. Each registers itself; `panoglot.running.get_method` finds it by name."""

from panoglot.captioning.capsfusion import capsfusion
from panoglot.captioning.caption_boosting import caption_boosting
from panoglot.captioning.densefusion import densefusion
from panoglot.captioning.describe import describe
from panoglot.captioning.describe_crops import describe_crops
from panoglot.captioning.evidence import evidence
from panoglot.captioning.fields import fields
from panoglot.captioning.fusecap import fusecap
from panoglot.captioning.image_textualization import image_textualization
from panoglot.captioning.label import label
from panoglot.captioning.mlbcap import mlbcap
from panoglot.captioning.panda_70m import panda_70m
from panoglot.captioning.patch_matters import patch_matters
from panoglot.captioning.rank_and_fuse import rank_and_fuse
from panoglot.captioning.revisit_captions import revisit_captions
from panoglot.captioning.scalecap import scalecap
from panoglot.captioning.sharegpt4v import sharegpt4v
from panoglot.captioning.veclip import veclip
from panoglot.captioning.viscon import viscon

__all__ = [
    "capsfusion",
    "caption_boosting",
    "densefusion",
    "describe",
    "describe_crops",
    "evidence",
    "fields",
    "fusecap",
    "image_textualization",
    "label",
    "mlbcap",
    "panda_70m",
    "patch_matters",
    "rank_and_fuse",
    "revisit_captions",
    "scalecap",
    "sharegpt4v",
    "veclip",
    "viscon",
]
