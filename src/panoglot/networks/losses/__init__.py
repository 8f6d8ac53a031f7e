"""The losses beside the contrast kernel, one file each. Every one returns a `Term`: value and count.

Nothing eligible gives an exact zero with zero gradients and count 0, never NaN.
"""

from panoglot.networks.losses.box import box, generalised_iou, match_boxes
from panoglot.networks.losses.composed import TEMPLATES, check_templates, nearest, slerp
from panoglot.networks.losses.group_patches import group_patches, grouped_patches
from panoglot.networks.losses.kl_logits import kl_logits, n_way
from panoglot.networks.losses.lm import lm
from panoglot.networks.losses.rank import rank
from panoglot.networks.losses.recon import attentive_masks, patchify, recon_feat, recon_px
from panoglot.networks.losses.regress import regress
from panoglot.networks.losses.views import Centre, views
from panoglot.networks.losses.vq import Codebook, vq

__all__ = [
    "TEMPLATES",
    "Centre",
    "Codebook",
    "attentive_masks",
    "box",
    "check_templates",
    "generalised_iou",
    "group_patches",
    "grouped_patches",
    "kl_logits",
    "lm",
    "match_boxes",
    "n_way",
    "nearest",
    "patchify",
    "rank",
    "recon_feat",
    "recon_px",
    "regress",
    "slerp",
    "views",
    "vq",
]
