"""The losses beside the contrast kernel, one file each. Every one returns a `Term`: value and count.

Nothing eligible gives an exact zero with zero gradients and count 0, never NaN.
"""

from panoglot.train.losses._box import box, generalised_iou, match_boxes
from panoglot.train.losses._group_patches import group_patches, grouped_patches
from panoglot.train.losses._kl_logits import kl_logits, n_way
from panoglot.train.losses._lm import lm
from panoglot.train.losses._rank import rank
from panoglot.train.losses._recon import attentive_masks, patchify, recon_feat, recon_px
from panoglot.train.losses._regress import regress
from panoglot.train.losses._views import Centre, views
from panoglot.train.losses._vq import Codebook, vq

__all__ = [
    "Centre",
    "Codebook",
    "attentive_masks",
    "box",
    "generalised_iou",
    "group_patches",
    "grouped_patches",
    "kl_logits",
    "lm",
    "match_boxes",
    "n_way",
    "patchify",
    "rank",
    "recon_feat",
    "recon_px",
    "regress",
    "views",
    "vq",
]
