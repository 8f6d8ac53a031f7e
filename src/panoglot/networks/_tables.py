"""Towers and heads that ship with Panoglot: name in a row -> what makes it.

Adding one = a file, an import, a line here. The tables are read without being run: literals only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from panoglot.networks._heads import (
    linear_head,
    no_head,
    own_head,
    projector_head,
    queries_head,
    resampler_head,
    residual_head,
    token_mlp_head,
    visual_embedding_head,
)
from panoglot.networks.towers.blip import Blip2Image, BlipImage, BlipText
from panoglot.networks.towers.causal import causal_lm, own_decoder
from panoglot.networks.towers.char_gru import CharGru
from panoglot.networks.towers.codes import CodeTower
from panoglot.networks.towers.florence import FlorenceImage, florence_lm
from panoglot.networks.towers.hashed import HashedText
from panoglot.networks.towers.hf import HfImage, HfText, timm_image
from panoglot.networks.towers.multiway import MultiwayImage, MultiwayText
from panoglot.networks.towers.open_clip import OpenClipImage, OpenClipText
from panoglot.networks.towers.points import PointTower
from panoglot.networks.towers.qwen_vl import QwenVlImage, QwenVlText
from panoglot.networks.towers.seq2seq import own_seq2seq, seq2seq_lm
from panoglot.networks.towers.stored import Stored
from panoglot.networks.towers.text import TextTransformer
from panoglot.networks.towers.vit import Vit
from panoglot.networks.towers.words import Words

__all__ = ["HEADS", "IMAGES", "TEXTS"]

IMAGES: dict[str, Callable[..., Any]] = {
    "blip": BlipImage,
    "blip2": Blip2Image,
    "codes": CodeTower,
    "florence": FlorenceImage,
    "hf": HfImage,
    "multiway": MultiwayImage,
    "open_clip": OpenClipImage,
    "points": PointTower,
    "qwen_vl": QwenVlImage,
    "timm": timm_image,
    "vector": Stored,
    "vit": Vit,
}

#: Those that say `writes` are language models.
TEXTS: dict[str, Callable[..., Any]] = {
    "blip": BlipText,
    "causal": causal_lm,
    "char_gru": CharGru,
    "decoder": own_decoder,
    "encoder_decoder": own_seq2seq,
    "florence": florence_lm,
    "hashed": HashedText,
    "hf": HfText,
    "multiway": MultiwayText,
    "open_clip": OpenClipText,
    "qwen_vl": QwenVlText,
    "seq2seq": seq2seq_lm,
    "stored": Stored,
    "transformer": TextTransformer,
    "words": Words,
}

HEADS: dict[str, Callable[..., Any]] = {
    "linear": linear_head,
    "none": no_head,
    "own": own_head,
    "projector": projector_head,
    "queries": queries_head,
    "resampler": resampler_head,
    "residual": residual_head,
    "token_mlp": token_mlp_head,
    "visual_embedding": visual_embedding_head,
}
