"""Towers and heads: what turns pictures and texts into vectors, boxes, captions.

An image tower returns (pooled [B, width], tokens [B, N, width]); a text tower (pooled [M, width], tokens [M, L, width])
and has `tokens`, its tokeniser, which counts what it cuts.
"""

from panoglot.networks.towers._block import Attention, Block, causal_mask
from panoglot.networks.towers._pieces import PICTURE, Pieces, pieces_of
from panoglot.networks.towers._punctuation import punctuation_of
from panoglot.networks.towers._reading import Projector, grid_boxes
from panoglot.networks.towers._tokens import ByteTokens, CharTokens, pad_tokens
from panoglot.networks.towers.blip import Blip2Image, BlipImage, BlipText
from panoglot.networks.towers.causal import CausalLm, OwnDecoder, Written, causal_lm, own_decoder
from panoglot.networks.towers.char_gru import CharGru
from panoglot.networks.towers.decoders import CaptionDecoder, ImageDecoder, QueryDecoder, Resampler
from panoglot.networks.towers.hashed import HashedText, HashTokens
from panoglot.networks.towers.heads import Blended, PrototypeHead, Residual, Reward, Scale, TokenMlp, unit
from panoglot.networks.towers.hf import HfImage, HfText, timm_image
from panoglot.networks.towers.multiway import (
    MultiwayBlock,
    MultiwayImage,
    MultiwayText,
    fuse,
    multiway_stack,
    together,
)
from panoglot.networks.towers.open_clip import OpenClipImage, OpenClipText
from panoglot.networks.towers.qwen_vl import QwenVlImage, QwenVlText
from panoglot.networks.towers.seq2seq import OwnSeq2Seq, Seq2SeqLm, own_seq2seq, seq2seq_lm
from panoglot.networks.towers.text import TextTransformer
from panoglot.networks.towers.visual_embedding import VisualEmbedding
from panoglot.networks.towers.vit import Vit
from panoglot.networks.towers.words import Words

__all__ = [
    "PICTURE",
    "Attention",
    "Blended",
    "Blip2Image",
    "BlipImage",
    "BlipText",
    "Block",
    "ByteTokens",
    "CaptionDecoder",
    "CausalLm",
    "CharGru",
    "CharTokens",
    "HashTokens",
    "HashedText",
    "HfImage",
    "HfText",
    "ImageDecoder",
    "MultiwayBlock",
    "MultiwayImage",
    "MultiwayText",
    "OpenClipImage",
    "OpenClipText",
    "OwnDecoder",
    "OwnSeq2Seq",
    "Pieces",
    "Projector",
    "PrototypeHead",
    "QueryDecoder",
    "QwenVlImage",
    "QwenVlText",
    "Resampler",
    "Residual",
    "Reward",
    "Scale",
    "Seq2SeqLm",
    "TextTransformer",
    "TokenMlp",
    "VisualEmbedding",
    "Vit",
    "Words",
    "Written",
    "causal_lm",
    "causal_mask",
    "fuse",
    "grid_boxes",
    "multiway_stack",
    "own_decoder",
    "own_seq2seq",
    "pad_tokens",
    "pieces_of",
    "punctuation_of",
    "seq2seq_lm",
    "timm_image",
    "together",
    "unit",
]
