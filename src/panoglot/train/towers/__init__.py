"""Towers and heads: what turns pictures and texts into vectors, boxes, captions.

An image tower returns (pooled [B, width], tokens [B, N, width]); a text tower (pooled [M, width], tokens [M, L, width])
and has `tokens`, its tokeniser, which counts what it cuts.
"""

from panoglot.train.towers._block import Attention, Block, causal_mask
from panoglot.train.towers._char_gru import CharGru
from panoglot.train.towers._decoders import CaptionDecoder, ImageDecoder, QueryDecoder, Resampler
from panoglot.train.towers._hashed import HashedText, HashTokens
from panoglot.train.towers._heads import PrototypeHead, Reward, Scale, TokenMlp, unit
from panoglot.train.towers._hf import HfImage, HfText, timm_image
from panoglot.train.towers._text import TextTransformer
from panoglot.train.towers._tokens import ByteTokens, CharTokens, pad_tokens
from panoglot.train.towers._visual_embedding import VisualEmbedding
from panoglot.train.towers._vit import Vit

__all__ = [
    "Attention",
    "Block",
    "ByteTokens",
    "CaptionDecoder",
    "CharGru",
    "CharTokens",
    "HashTokens",
    "HashedText",
    "HfImage",
    "HfText",
    "ImageDecoder",
    "PrototypeHead",
    "QueryDecoder",
    "Resampler",
    "Reward",
    "Scale",
    "TextTransformer",
    "TokenMlp",
    "VisualEmbedding",
    "Vit",
    "causal_mask",
    "pad_tokens",
    "timm_image",
    "unit",
]
